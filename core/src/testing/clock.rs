//! A clock that stands still until a test moves it.

use std::fmt;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use crate::Moment;
use crate::engine::{Engine, Key};
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::thread;
use crate::waiter::with_thread_waker;

/// A clock that stands still until a test moves it. Leases, renewals and waits of the stores that
/// live by it happen in its time.
///
/// ```
/// use std::time::Duration;
/// use tenure_core::testing::Clock;
///
/// let clock = Clock::new();
/// let before = clock.now();
/// clock.advance(Duration::from_secs(3600));
/// assert_eq!(clock.now().since(before), Duration::from_secs(3600));
/// ```
#[derive(Clone)]
pub struct Clock(Arc<Inner>);

struct Inner {
    now: AtomicU64,
    engine: Engine,
    jumps: bool,
}

impl Clock {
    /// A clock that is moved by [`advance`](Self::advance) alone. A thread that waits for a lock
    /// sleeps until another thread moves the clock or releases the lock.
    #[must_use]
    pub fn new() -> Self {
        Self::make(false)
    }

    /// A clock that jumps ahead when a thread has to wait: a wait of an hour takes no time. For tests
    /// with one thread. Tasks that wait do not move it.
    #[must_use]
    pub fn jumping() -> Self {
        Self::make(true)
    }

    fn make(jumps: bool) -> Self {
        // Some way in, so that a moment before the first one can be expressed.
        let now = AtomicU64::new(Duration::from_secs(24 * 3600).as_nanos() as u64);
        Self(Arc::new(Inner { now, engine: Engine::of_a_test(), jumps }))
    }

    /// The moment that it shows.
    #[must_use]
    pub fn now(&self) -> Moment {
        Moment::from_nanos(self.0.now.load(Ordering::SeqCst))
    }

    /// Moves it on. What falls due on the way is done at its moment and in this thread: leases are
    /// renewed or end, tasks are woken.
    pub fn advance(&self, by: Duration) {
        self.advance_to(self.now() + by);
    }

    fn advance_to(&self, until: Moment) {
        let first = || self.0.engine.first().filter(|first| *first <= until);
        // Whoever looked at the clock before its last move may set a timer for then until after it.
        while self.now() < until || first().is_some() {
            self.move_to(first().unwrap_or(until));
            self.0.engine.fire(self.now());
        }
    }

    /// Never back: a store may have moved it while it answered.
    fn move_to(&self, moment: Moment) {
        self.0.now.fetch_max(moment.as_nanos(), Ordering::SeqCst);
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.0.engine
    }

    pub(crate) fn park_until(&self, until: Moment) {
        if self.0.jumps {
            self.advance_to(until);
            return;
        }
        let timer = with_thread_waker(|waker| self.wake_at(until, waker));
        thread::park();
        self.0.engine.unwatch(timer);
    }

    /// Wakes a task at a moment; at once if the clock has been moved there since the task looked at it.
    pub(crate) fn wake_at(&self, moment: Moment, task: &Waker) -> Key {
        let timer = self.0.engine.wake(moment, task.clone());
        if self.now() >= moment {
            task.wake_by_ref();
        }
        timer
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clock").field("now", &self.now()).finish_non_exhaustive()
    }
}
