//! What keeps fences growing, and locks closed while they may be believed in that the server forgot.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tenure_core::Fence;

use crate::stats::Stats;
use crate::wire::Item;

/// The key of the guard. No lock has it, since no key of a lock begins so.
pub(crate) const KEY: &[u8] = b"~tenure";

/// What stands under that key as long as the server remembers.
///
/// As text: `g1`, the epoch, when locks open, and when the server was started. A fence is the epoch and the
/// number of changes since the guard was written: the server counts changes (CAS numbers) as long as it runs,
/// and each life of its data begins with a later epoch. So fences go back only if the server is started
/// anew with its host's clock behind, or after more than a million changes in each second of its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Guard {
    /// In microseconds since 1970, so that fences are like those of other stores.
    pub(crate) epoch: u64,
    /// From which of the server's seconds on locks are granted; 0 for always.
    pub(crate) opens: u64,
    /// In which of its seconds the server was started that this was made for.
    pub(crate) started: u64,
}

impl Guard {
    /// The guard of a server that has none. `longest` is how long a lease can be that it forgot, if that is
    /// to be waited out; `floor` a fence that it gave before.
    pub(crate) fn new(stats: &Stats, longest: Option<Duration>, floor: Fence, wall: u64) -> Self {
        let (time, started) = (stats.time(), stats.started());
        let opens = match longest {
            None => 0,
            Some(longest) => {
                // Seconds are counted from any part of one, at both ends; and a server that stood still for
                // up to three of them may not have counted them yet.
                let longest = longest.as_secs() + 5;
                let opens = if stats.has_forgotten() { time + longest } else { started + longest };
                if opens > time { opens } else { 0 }
            }
        };
        let second = 1_000_000;
        let epoch = wall.clamp(time * second, (time + 2) * second);
        let epoch = epoch.max(opens * second).max(floor.get().saturating_add(1));
        Self { epoch, opens, started }
    }

    /// The same with larger fences.
    pub(crate) fn raised(self, floor: Fence) -> Self {
        Self { epoch: self.epoch.max(floor.get().saturating_add(1)), ..self }
    }

    pub(crate) fn write(&self) -> Vec<u8> {
        format!("g1 {} {} {}", self.epoch, self.opens, self.started).into_bytes()
    }

    pub(crate) fn read(item: &Item) -> Option<Self> {
        let mut fields = std::str::from_utf8(&item.value).ok()?.split(' ');
        let mark = fields.next()?;
        let mut number = || fields.next()?.parse().ok();
        let guard = Self { epoch: number()?, opens: number()?, started: number()? };
        (mark == "g1" && fields.next().is_none()).then_some(guard)
    }

    /// What makes a fence of a CAS number.
    pub(crate) fn base(&self, item: &Item) -> u64 {
        self.epoch.wrapping_sub(item.cas)
    }
}

/// What is known of a server's guard.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// The base of an open one; 0 if there is none that is known.
    base: AtomicU64,
    /// The highest fence that was seen.
    top: AtomicU64,
}

impl Known {
    pub(crate) fn base(&self) -> Option<u64> {
        Some(self.base.load(Ordering::Acquire)).filter(|base| *base != 0)
    }

    pub(crate) fn is_open(&self, base: u64) {
        self.base.store(base, Ordering::Release);
    }

    pub(crate) fn is_gone(&self) {
        self.base.store(0, Ordering::Release);
    }

    pub(crate) fn top(&self) -> Fence {
        Fence::new(self.top.load(Ordering::Relaxed))
    }

    pub(crate) fn seen(&self, fence: Fence) {
        self.top.fetch_max(fence.get(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn stats(time: u64, uptime: u64, more: &str) -> Stats {
        Stats::read(&format!("STAT time {time}\nSTAT uptime {}\n{more}", uptime + 2))
    }

    fn guard(stats: &Stats) -> Guard {
        Guard::new(stats, Some(HOUR), Fence::ZERO, 0)
    }

    #[test]
    fn a_guard_is_read_as_it_was_written() {
        let guard = Guard { epoch: 17, opens: 4, started: 3 };
        let item = Item { value: guard.write(), cas: 7, ..Item::default() };
        assert_eq!((Guard::read(&item), guard.base(&item)), (Some(guard), 10));
        for other in ["", "g1", "g1 1 2", "g1 1 2 3 4", "g2 1 2 3", "g1 1 2 x"] {
            assert_eq!(Guard::read(&Item { value: other.into(), ..Item::default() }), None, "{other}");
        }
    }

    #[test]
    fn a_server_that_was_just_started_is_closed_for_the_longest_lease() {
        assert_eq!(guard(&stats(100_000, 0, "")).opens, 103_605);
        assert_eq!(guard(&stats(100_000, 3000, "")).opens, 100_605);
        assert_eq!(guard(&stats(100_000, 3606, "")).opens, 0);
    }

    #[test]
    fn a_server_that_may_have_forgotten_locks_is_closed_however_long_it_has_run() {
        for forgot in ["cmd_flush 1", "evictions 3", "slab_reassign_evictions_nomem 1"] {
            assert_eq!(guard(&stats(100_000, 50_000, &format!("STAT {forgot}\n"))).opens, 103_605);
        }
        assert_eq!(guard(&stats(100_000, 50_000, "STAT evictions 0\n")).opens, 0);
    }

    #[test]
    fn each_life_begins_with_a_later_epoch() {
        let first = Guard::new(&stats(1000, 5000, ""), None, Fence::ZERO, 1_000_200_000);
        let again = Guard::new(&stats(1000, 0, ""), None, Fence::ZERO, 1_000_700_000);
        assert!(first.epoch < again.epoch);
        // Without a clock that can be believed, by the server's.
        assert_eq!(Guard::new(&stats(1000, 5000, ""), None, Fence::ZERO, 5).epoch, 1_000_000_000);
        assert_eq!(Guard::new(&stats(1000, 5000, ""), None, Fence::ZERO, u64::MAX).epoch, 1_002_000_000);
        // Nor below what is known to have been given, nor before it opens.
        assert_eq!(
            Guard::new(&stats(1000, 5000, ""), None, Fence::new(u64::MAX / 2), 5).epoch,
            u64::MAX / 2 + 1
        );
        assert_eq!(guard(&stats(1000, 0, "")).epoch, 4_605_000_000);
    }
}
