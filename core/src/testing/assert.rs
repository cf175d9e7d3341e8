//! Assertions about held locks.

use crate::aio::{self, AsyncHandle};
use crate::{Handle, Held, Lock, Rule, Status};

/// A held lock of any kind, for assertions.
pub trait HeldLock {
    /// What is known of the lock now; see [`Lock::status`](crate::Lock::status).
    fn status(&self) -> Status;

    /// Its name.
    fn name(&self) -> &str;
}

impl<B: Handle, R: Rule> HeldLock for Lock<B, Held<R>> {
    fn status(&self) -> Status {
        self.status()
    }

    fn name(&self) -> &str {
        self.name()
    }
}

impl<B: AsyncHandle, R: Rule> HeldLock for aio::Lock<B, Held<R>> {
    fn status(&self) -> Status {
        self.status()
    }

    fn name(&self) -> &str {
        self.name()
    }
}

/// Asserts that a lock is certainly held at this moment, in a test or where code relies on it.
///
/// # Panics
///
/// If it is lost, or if a renewal went unanswered.
#[track_caller]
pub fn assert_held(lock: &impl HeldLock) {
    let (name, status) = (lock.name(), lock.status());
    assert!(status == Status::Held, "lock {name:?} is not held for certain: {status:?}");
}

/// Asserts that a lock is lost.
///
/// # Panics
///
/// If it is held, or if it is not known.
#[track_caller]
pub fn assert_lost(lock: &impl HeldLock) {
    let (name, status) = (lock.name(), lock.status());
    assert!(matches!(status, Status::Lost(_)), "lock {name:?} is not lost: {status:?}");
}
