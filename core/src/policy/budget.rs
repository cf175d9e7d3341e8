//! How often one process may win a name in a row while others may be waiting for it.

use std::time::Duration;

/// Counts the grants that one process's line took one after another.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Budget {
    row: u32,
}

impl Budget {
    /// Grants in a row before the process steps back once.
    const LIMIT: u32 = 16;

    /// A waiter of this process won, and more of them stand behind it. True if the next one must
    /// let other processes go first.
    pub(crate) fn won(&mut self) -> bool {
        self.row += 1;
        if self.row < Self::LIMIT {
            return false;
        }
        self.row = 0;
        true
    }

    /// Somebody else had the lock in between.
    pub(crate) fn lost(&mut self) {
        self.row = 0;
    }

    /// How long to step back: long enough for a woken process elsewhere to ask, or for a polling
    /// one to come round.
    pub(crate) fn pause(notified: bool, sleep: Duration) -> Duration {
        if notified { Duration::from_millis(2) } else { sleep.mul_f64(1.25) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sixteenth_win_in_a_row_is_followed_by_a_rest() {
        let mut budget = Budget::default();
        let rests = (0..160).filter(|_| budget.won()).count();
        assert_eq!(rests, 10);
    }

    #[test]
    fn a_win_elsewhere_starts_the_count_again() {
        let mut budget = Budget::default();
        for _ in 0..100 {
            assert!(!budget.won());
            budget.lost();
        }
    }
}
