//! The clock that leases are judged by: monotonic, and running while the machine sleeps.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A point on the suspend-aware monotonic clock of this host.
///
/// On Linux and Android this is `CLOCK_BOOTTIME`: unlike [`Instant`], which stops while a laptop or
/// a virtual machine is suspended, it shows a resumed holder that its lease is over. On other
/// systems it is as good as their `Instant`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(u64);

impl Moment {
    /// Later than any moment that is reached.
    pub const FAR: Self = Self(u64::MAX);

    /// Reads the clock.
    #[must_use]
    pub fn now() -> Self {
        Self(boot_nanos())
    }

    /// A moment from nanoseconds since the clock's zero, which is the boot of the host on Linux.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the clock's zero.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// How long after `earlier` this is; zero if it is not.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Moment {
    type Output = Self;

    /// Saturates at [`Moment::FAR`].
    fn add(self, wait: Duration) -> Self {
        Self(u64::try_from(wait.as_nanos()).map_or(u64::MAX, |nanos| self.0.saturating_add(nanos)))
    }
}

impl Sub<Duration> for Moment {
    type Output = Self;

    /// Saturates at the clock's zero.
    fn sub(self, wait: Duration) -> Self {
        Self(u64::try_from(wait.as_nanos()).map_or(0, |nanos| self.0.saturating_sub(nanos)))
    }
}

impl From<Instant> for Moment {
    fn from(instant: Instant) -> Self {
        let (now, here) = (Instant::now(), Self::now());
        match instant.checked_duration_since(now) {
            Some(ahead) => here + ahead,
            None => here - now.duration_since(instant),
        }
    }
}

impl fmt::Debug for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Moment({:?})", Duration::from_nanos(self.0))
    }
}

/// Microseconds since 1970 by the wall clock, the source of fences on stores without their own.
#[must_use]
pub fn wall_micros() -> u64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX)
}

/// The wall clock to within some milliseconds, at a third of the price; for people to look at.
#[must_use]
pub fn wall_coarse() -> SystemTime {
    coarse().unwrap_or_else(SystemTime::now)
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn coarse() -> Option<SystemTime> {
    use nix::time::{ClockId, clock_gettime};

    let time = clock_gettime(ClockId::CLOCK_REALTIME_COARSE).ok()?;
    UNIX_EPOCH.checked_add(Duration::from(time))
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn coarse() -> Option<SystemTime> {
    None
}

#[cfg(tenure_shuttle)]
use crate::sync::nanos as boot_nanos;

#[cfg(all(not(tenure_shuttle), any(target_os = "linux", target_os = "android")))]
fn boot_nanos() -> u64 {
    use nix::time::{ClockId, clock_gettime};

    let time = clock_gettime(ClockId::CLOCK_BOOTTIME).expect("CLOCK_BOOTTIME is there since Linux 2.6.39");
    let (seconds, nanos) = (time.tv_sec().cast_unsigned(), time.tv_nsec().cast_unsigned());
    #[allow(clippy::unnecessary_cast, reason = "both are 32 bits wide on some targets")]
    (seconds as u64).wrapping_mul(1_000_000_000).wrapping_add(nanos as u64)
}

#[cfg(all(not(tenure_shuttle), not(any(target_os = "linux", target_os = "android"))))]
fn boot_nanos() -> u64 {
    use std::sync::OnceLock;

    static ZERO: OnceLock<Instant> = OnceLock::new();
    // Starts an hour in, so that a moment before the first reading can be expressed.
    let elapsed = ZERO.get_or_init(Instant::now).elapsed() + Duration::from_secs(3600);
    u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates() {
        assert_eq!(Moment::FAR + Duration::from_secs(1), Moment::FAR);
        assert_eq!(Moment::from_nanos(5) - Duration::MAX, Moment::from_nanos(0));
        assert_eq!(Moment::from_nanos(5).since(Moment::from_nanos(9)), Duration::ZERO);
    }

    #[test]
    fn an_instant_keeps_its_distance() {
        let moment = Moment::from(Instant::now() + Duration::from_secs(60));
        let ahead = moment.since(Moment::now());
        assert!(ahead > Duration::from_secs(59) && ahead <= Duration::from_secs(60), "{ahead:?}");
    }
}
