//! Lifetimes of leases.

use std::fmt;
use std::time::Duration;

use crate::{Error, Result};

/// The lifetime of a lease: 10 ms to 30 days.
///
/// The store frees a lease no earlier than this after it was granted or renewed. `Settings` set a
/// lower upper limit, one hour unless told otherwise.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ttl(Duration);

impl Ttl {
    /// The shortest lifetime: below it, clocks and schedulers decide more than the lease does.
    pub const MIN: Self = Self(Duration::from_millis(10));

    /// The longest lifetime: beyond 30 days memcached reads a date instead of a duration.
    pub const MAX: Self = Self(Duration::from_secs(30 * 24 * 3600));

    /// Checks a duration.
    ///
    /// # Errors
    ///
    /// `Misconfigured` outside [`Ttl::MIN`]..=[`Ttl::MAX`].
    pub fn new(lifetime: Duration) -> Result<Self> {
        Self::at_most(lifetime, Self::MAX)
    }

    /// Checks a duration against a lower upper limit.
    ///
    /// # Errors
    ///
    /// `Misconfigured` outside [`Ttl::MIN`]..=`limit`.
    pub fn at_most(lifetime: Duration, limit: Self) -> Result<Self> {
        if lifetime < Self::MIN.0 {
            return Err(Error::misconfigured(format!(
                "a lease of {lifetime:?} is too short; the shortest is {:?}",
                Self::MIN.0
            )));
        }
        if lifetime > limit.0 {
            return Err(Error::misconfigured(format!(
                "a lease of {lifetime:?} is longer than max_ttl, {:?}; raise max_ttl in the settings of \
                 every process that shares the store, or keep a shorter lease alive",
                limit.0
            )));
        }
        Ok(Self(lifetime))
    }

    /// The lifetime as a duration.
    #[must_use]
    pub const fn get(self) -> Duration {
        self.0
    }
}

impl fmt::Debug for Ttl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ttl({:?})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes_outside_the_range_are_refused_with_the_limit_in_the_message() {
        assert!(Ttl::new(Duration::ZERO).is_err_and(|error| error.to_string().contains("10ms")));
        assert!(Ttl::new(Duration::from_secs(3600)).is_ok());
        let limit = Ttl(Duration::from_secs(60));
        assert!(Ttl::at_most(Duration::from_secs(61), limit).is_err_and(|error| error.is_misconfigured()));
        assert!(Ttl::new(Duration::MAX).is_err());
    }
}
