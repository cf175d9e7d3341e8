//! What a holder knows of its lock.

use crate::Cause;

/// What a holder knows of its lock, by its own clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// Granted or renewed, and the lease has not ended.
    Held,
    /// A renewal went unanswered; the lease has not ended, and it is tried again until it has.
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
