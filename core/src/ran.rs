//! Work done under a lock.

use crate::{Error, Result};

/// What became of work done under a lock.
#[derive(Debug)]
#[must_use = "the lock may have been lost while the work was done; call `kept`"]
pub struct Ran<T> {
    value: T,
    ended: Result<()>,
}

impl<T> Ran<T> {
    pub(crate) fn new(value: T, ended: Result<()>) -> Self {
        Self { value, ended }
    }

    /// The value, if the lock was held from beginning to end.
    ///
    /// # Errors
    ///
    /// `Lost` if it was lost meanwhile: somebody else may have done the same work at the same time.
    /// `Unavailable` if the lock was held, but its release was not answered.
    pub fn kept(self) -> Result<T> {
        self.ended.map(|()| self.value)
    }

    /// The value, whatever became of the lock.
    pub fn into_value(self) -> T {
        self.value
    }

    /// The error of the release, if there was one.
    pub fn error(&self) -> Option<&Error> {
        self.ended.as_ref().err()
    }

    /// Whether the lock was lost while the work was done.
    pub fn is_lost(&self) -> bool {
        self.error().is_some_and(Error::is_lost)
    }
}
