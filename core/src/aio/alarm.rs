//! Waking a task at a moment, without a runtime's timers.

use std::future::poll_fn;
use std::task::{Poll, Waker};

use crate::engine::Key;
use crate::{Moment, Site};

/// A timer of the renewal engine that wakes a task.
pub(crate) struct Alarm<'s> {
    site: &'s Site,
    set: Option<Key>,
}

impl<'s> Alarm<'s> {
    pub(crate) fn new(site: &'s Site) -> Self {
        Self { site, set: None }
    }

    /// Wakes `waker` at a moment, and at no other that was set before.
    pub(crate) fn set(&mut self, at: Moment, waker: &Waker) {
        self.clear();
        if at != Moment::FAR {
            self.set = Some(self.site.wake_at(at, waker));
        }
    }

    pub(crate) fn clear(&mut self) {
        if let Some(key) = self.set.take() {
            self.site.engine().unwatch(key);
        }
    }

    pub(crate) async fn sleep_until(mut self, at: Moment) {
        poll_fn(|cx| {
            if self.site.now() >= at {
                return Poll::Ready(());
            }
            self.set(at, cx.waker());
            Poll::Pending
        })
        .await;
    }
}

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        self.clear();
    }
}
