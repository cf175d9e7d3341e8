//! A set of locks that is held.

use super::group::HeldGroup;
use super::{LockAll, Members};
use crate::aio::block_on;
use crate::{Error, Held, Result};

/// Waiting for a loss, renewing, releasing.
impl<M: Members> LockAll<M, Held> {
    /// Blocks until the first of the locks is lost, and tells which and why in an error of kind `Lost`.
    /// For a thread that watches while others work; it learns of a loss no later than at the lock's
    /// deadline.
    pub fn lost(&self) -> Error {
        block_on(self.data.lost())
    }

    /// Renews the lifetime of each from now on, as [`Lock::renew`](crate::Lock::renew) does, also if
    /// one before it cannot be renewed.
    ///
    /// # Errors
    ///
    /// The first error in the order in which the locks were given, naming the lock: `Lost` or
    /// `Unavailable`, as for one lock.
    pub fn renew(&self) -> Result<()> {
        let mut answer = Ok(());
        for member in self.members().view() {
            answer = answer.and(member.renew());
        }
        answer
    }

    /// Releases all, from the one that was taken last to the first, also if one of them cannot be.
    /// Dropping the set does the same, but cannot tell.
    ///
    /// # Errors
    ///
    /// The first error, naming the lock: `Lost` if it was lost before, `Unavailable` if its store does
    /// not answer, as for [one lock](crate::Lock::release).
    pub fn release(self) -> Result<()> {
        let mut answer = Ok(());
        for member in self.data.unwind() {
            answer = answer.and(member.release());
        }
        answer
    }
}
