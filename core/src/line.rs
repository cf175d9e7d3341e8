//! The line of this process's waiters for one name: first come, first served, and only the first
//! one speaks to the store.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::Watch;
use crate::policy::Budget;
use crate::waiter::{Promotion, Waiter};

/// The waiters of one name, and what the store promised them.
#[derive(Debug, Default)]
pub(crate) struct Line {
    waiters: VecDeque<Arc<Waiter>>,
    watch: Option<Watch>,
    budget: Budget,
}

/// How a waiter leaves the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leaving {
    /// With the lock alone; the lease that it got, if it has an end.
    Won(Option<Duration>),
    /// With a share of it, of which the next one may have another.
    WonShare,
    /// Without.
    Without,
}

impl Line {
    pub(crate) fn len(&self) -> usize {
        self.waiters.len()
    }

    /// Stands at the end; true if that is the front.
    pub(crate) fn join(&mut self, waiter: Arc<Waiter>) -> bool {
        self.waiters.push_back(waiter);
        self.waiters.len() == 1
    }

    pub(crate) fn notify_first(&self) {
        if let Some(first) = self.waiters.front() {
            first.notify();
        }
    }

    pub(crate) fn release_to_first(&self) {
        if let Some(first) = self.waiters.front() {
            first.release();
        }
    }

    pub(crate) fn watch(&self) -> Option<&Watch> {
        self.watch.as_ref()
    }

    pub(crate) fn keep_watch(&mut self, watch: Watch) -> Option<Watch> {
        self.watch.replace(watch)
    }

    /// Somebody outside this line has the lock.
    pub(crate) fn passed_over(&mut self) {
        self.budget.lost();
    }

    /// The first one gives up on a store that does not answer, and so do all behind it.
    pub(crate) fn fail(&self, message: &Arc<str>) {
        for waiter in self.waiters.iter().skip(1) {
            waiter.fail(message.clone());
        }
    }

    /// Leaves the line; the next one learns that it is the first now.
    pub(crate) fn leave(&mut self, waiter: &Arc<Waiter>, how: Leaving) {
        let Some(place) = self.waiters.iter().position(|other| Arc::ptr_eq(other, waiter)) else { return };
        self.waiters.remove(place);
        if place > 0 {
            return;
        }
        let Some(next) = self.waiters.front() else { return };
        next.promote(match how {
            Leaving::Won(lease) => Promotion::Behind { lease, rest: self.budget.won() },
            Leaving::WonShare | Leaving::Without => Promotion::Vacant,
        });
    }
}
