//! What a holder knows of its lock.

use crate::Cause;

/// What a holder knows of its lock, by its own clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// Granted or renewed, and the lease has not ended.
    Held,
    /// A renewal went unanswered, or the store may have forgotten the lock; the lease has not ended. What
    /// is kept alive is renewed until that is answered or the lease has ended.
    Unknown,
    /// No more, and never again: get it anew.
    Lost(Cause),
}

impl Status {
    /// Whether the lease has certainly not ended.
    #[must_use]
    pub fn is_believed(self) -> bool {
        !matches!(self, Self::Lost(_))
    }
}
