//! The time that a store lives in: the host's, or one that a test moves.

use std::task::Waker;
use std::time::Duration;

use crate::Moment;
use crate::engine::{Engine, Key, Lane};
use crate::sync::thread;
use crate::testing::Clock;

#[derive(Clone)]
pub(crate) enum Time {
    Host,
    Test(Clock),
}

impl Time {
    #[inline]
    pub(crate) fn now(&self) -> Moment {
        match self {
            Self::Host => Moment::now(),
            Self::Test(clock) => clock.now(),
        }
    }

    /// What wakes leases and tasks in this time.
    #[inline]
    pub(crate) fn engine(&self) -> &Engine {
        match self {
            Self::Host => Engine::of_the_process(),
            Self::Test(clock) => clock.engine(),
        }
    }

    /// Sleeps until a moment, or until the thread is unparked.
    pub(crate) fn park_until(&self, until: Moment) {
        match self {
            _ if until == Moment::FAR => thread::park(),
            Self::Host => thread::park_timeout(until.since(Moment::now())),
            Self::Test(clock) => clock.park_until(until),
        }
    }

    /// Wakes a task at a moment.
    pub(crate) fn wake_at(&self, moment: Moment, task: &Waker) -> Key {
        match self {
            Self::Host => Engine::of_the_process().wake(moment, task.clone()),
            Self::Test(clock) => clock.wake_at(moment, task),
        }
    }

    /// Does a piece of work in the background, and again after the time that it returns.
    pub(crate) fn run_later(
        &self,
        lane: &Lane,
        mut chore: impl FnMut() -> Option<Duration> + Send + 'static,
    ) {
        match self {
            Self::Host => lane.run(chore),
            // Nothing is in the background of a test: what happens, happens in order.
            Self::Test(clock) => {
                if let Some(pause) = chore() {
                    clock.engine().repeat(clock.now() + pause, Box::new(chore));
                }
            }
        }
    }
}
