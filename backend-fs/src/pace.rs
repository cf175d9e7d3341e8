//! Whether the disk is quick enough that a task's thread may do a lock's few system calls itself.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use tenure_core::Moment;

/// How long the calls that were made in tasks' threads took lately.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// How many were slow in a row.
    slow: AtomicU32,
    /// Until when none are made there, in nanoseconds since boot.
    until: AtomicU64,
}

/// What takes longer than this is slow; usually it takes a thousandth of that.
const SLOW: Duration = Duration::from_millis(5);

/// So many in a row are the disk's doing. A single one, on a busy host, is the scheduler's.
const ROW: u32 = 3;

/// For how long the pool then does everything.
const WHILE: Duration = Duration::from_secs(30);

impl Pace {
    /// Whether a task's thread may do it itself.
    pub(crate) fn is_quick(&self, now: Moment) -> bool {
        now.as_nanos() >= self.until.load(Ordering::Relaxed)
    }

    /// Takes in how long something took that was done in a task's thread.
    pub(crate) fn took(&self, began: Moment, ended: Moment) {
        if ended.since(began) <= SLOW {
            if self.slow.load(Ordering::Relaxed) > 0 {
                self.slow.store(0, Ordering::Relaxed);
            }
        } else if self.slow.fetch_add(1, Ordering::Relaxed) + 1 >= ROW {
            self.slow.store(0, Ordering::Relaxed);
            self.until.store((ended + WHILE).as_nanos(), Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Moment = Moment::from_nanos(1_000_000_000_000);

    /// Does things that take so many milliseconds each, one after another, and tells when the last one
    /// ended.
    fn after(pace: &Pace, took: &[u64]) -> Moment {
        took.iter().fold(NOW, |began, millis| {
            let ended = began + Duration::from_millis(*millis);
            pace.took(began, ended);
            ended
        })
    }

    #[test]
    fn a_disk_that_is_slow_again_and_again_is_left_to_the_pool_for_a_while() {
        let pace = Pace::default();
        let ended = after(&pace, &[0, 20, 20, 20]);
        assert!(!pace.is_quick(ended) && !pace.is_quick(ended + Duration::from_secs(29)));
        assert!(pace.is_quick(ended + Duration::from_secs(30)));
    }

    #[test]
    fn a_thread_that_got_no_cpu_for_a_moment_says_nothing_of_the_disk() {
        let pace = Pace::default();
        let ended = after(&pace, &[0, 20, 20, 0, 20, 20, 1, 300, 0]);
        assert!(pace.is_quick(ended));
    }
}
