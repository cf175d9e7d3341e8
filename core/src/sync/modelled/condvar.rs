//! Mutexes and condition variables.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, LockResult, PoisonError};
use std::time::Duration;

use super::time;
use super::token::Token;
use shuttle::rand::Rng;

/// As the standard library's.
#[derive(Debug, Default)]
pub struct Mutex<T: ?Sized>(shuttle::sync::Mutex<T>);

/// As the standard library's.
pub struct MutexGuard<'m, T: ?Sized> {
    mutex: &'m Mutex<T>,
    guard: shuttle::sync::MutexGuard<'m, T>,
}

impl<T> Mutex<T> {
    /// An unlocked one.
    pub const fn new(value: T) -> Self {
        Self(shuttle::sync::Mutex::new(value))
    }
}

impl<T: ?Sized> Mutex<T> {
    /// Blocks until this thread has it.
    ///
    /// # Errors
    ///
    /// If a thread panicked while it had it.
    pub fn lock(&self) -> LockResult<MutexGuard<'_, T>> {
        match self.0.lock() {
            Ok(guard) => Ok(MutexGuard { mutex: self, guard }),
            Err(poisoned) => Err(PoisonError::new(MutexGuard { mutex: self, guard: poisoned.into_inner() })),
        }
    }
}

impl<T: ?Sized> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.guard
    }
}

impl<T: ?Sized> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.guard
    }
}

impl<T: fmt::Debug + ?Sized> fmt::Debug for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.guard.fmt(f)
    }
}

/// As the standard library's.
pub struct Condvar(std::sync::Mutex<Vec<Arc<Token>>>);

/// Whether a wait ended because its time was over.
#[derive(Clone, Copy, Debug)]
pub struct WaitTimeoutResult(bool);

impl WaitTimeoutResult {
    /// Whether it did.
    #[must_use]
    pub fn timed_out(self) -> bool {
        self.0
    }
}

impl Condvar {
    /// One that nobody waits on.
    #[must_use]
    pub const fn new() -> Self {
        Self(std::sync::Mutex::new(Vec::new()))
    }

    /// Unlocks, sleeps until notified, and locks again.
    ///
    /// # Errors
    ///
    /// As [`Mutex::lock`].
    pub fn wait<'m, T>(&self, guard: MutexGuard<'m, T>) -> LockResult<MutexGuard<'m, T>> {
        let (mutex, token) = self.unlock(guard);
        token.sleep();
        mutex.lock()
    }

    /// Unlocks, sleeps until notified or for a time, and locks again.
    ///
    /// # Errors
    ///
    /// As [`Mutex::lock`].
    pub fn wait_timeout<'m, T>(
        &self,
        guard: MutexGuard<'m, T>,
        time: Duration,
    ) -> LockResult<(MutexGuard<'m, T>, WaitTimeoutResult)> {
        let (mutex, token) = self.unlock(guard);
        time::sleep(&token, time);
        let before = self.waiting().len();
        self.waiting().retain(|other| !Arc::ptr_eq(other, &token));
        let timed_out = WaitTimeoutResult(self.waiting().len() < before);
        match mutex.lock() {
            Ok(guard) => Ok((guard, timed_out)),
            Err(poisoned) => Err(PoisonError::new((poisoned.into_inner(), timed_out))),
        }
    }

    fn unlock<'m, T>(&self, guard: MutexGuard<'m, T>) -> (&'m Mutex<T>, Arc<Token>) {
        let token = Arc::new(Token::new());
        self.waiting().push(token.clone());
        (guard.mutex, token)
    }

    /// Wakes one of those who wait.
    pub fn notify_one(&self) {
        let waiting = self.waiting().len();
        let which = if waiting > 1 { shuttle::rand::thread_rng().gen_range(0..waiting) } else { 0 };
        if waiting > 0 {
            let token = self.waiting().swap_remove(which);
            token.wake();
        }
    }

    /// Wakes all who wait.
    pub fn notify_all(&self) {
        let waiting = std::mem::take(&mut *self.waiting());
        waiting.iter().for_each(|token| token.wake());
    }

    /// No schedule switches threads while it is locked.
    fn waiting(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Token>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Condvar {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Condvar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Condvar")
    }
}
