//! Waking a task at a moment, without a runtime's timers.

use std::future::poll_fn;
use std::task::{Poll, Waker};

use crate::engine::{self, Key};
use crate::{Moment, Site};

/// A timer of the renewal engine that wakes a task.
pub(crate) struct Alarm {
    set: Option<Key>,
}

impl Alarm {
    pub(crate) fn new(_site: &Site) -> Self {
        Self { set: None }
    }

    /// Wakes `waker` at a moment, and at no other that was set before.
    pub(crate) fn set(&mut self, at: Moment, waker: &Waker) {
        self.clear();
        if at != Moment::FAR {
            self.set = Some(engine::wake(at, waker.clone()));
        }
    }

    pub(crate) fn clear(&mut self) {
        if let Some(key) = self.set.take() {
            engine::unwatch(key);
        }
    }

    pub(crate) async fn sleep_until(mut self, at: Moment) {
        poll_fn(|cx| {
            if Moment::now() >= at {
                return Poll::Ready(());
            }
            self.set(at, cx.waker());
            Poll::Pending
        })
        .await;
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        self.clear();
    }
}
