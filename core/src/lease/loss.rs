//! Waiting for the loss of a lease, and being told of it.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::{CAUSES, LOST, Lease, Watch};
use crate::port::Port;
use crate::site::HeldHere;
use crate::sync::MutexGuard;
use crate::sync::atomic::Ordering;
use crate::{Cause, Renewal, callbacks};

impl<P: Port> Lease<P> {
    /// Calls back when it is lost; at once if it is.
    pub(crate) fn on_lost(self: &Arc<Self>, callback: callbacks::Callback) {
        let mut watch = self.watch();
        if let Some(cause) = self.loss() {
            drop(watch);
            callbacks::call(vec![callback], cause);
            return;
        }
        watch.callbacks.push(callback);
        self.look_out(watch);
    }

    /// Blocks until it is lost.
    pub(crate) fn wait_for_loss(self: &Arc<Self>) -> Cause {
        self.look_out(self.watch());
        let mut watch = self.watch();
        loop {
            if let Some(cause) = self.loss() {
                return cause;
            }
            watch = self.lost.wait(watch).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Is done when it is lost.
    pub(crate) fn until_lost(self: &Arc<Self>) -> UntilLost<'_, P> {
        UntilLost { lease: self, task: None }
    }

    /// Why it is lost, if that is known.
    fn loss(&self) -> Option<Cause> {
        match self.phase.load(Ordering::SeqCst) {
            lost @ LOST.. => Some(CAUSES[usize::from(lost - LOST)]),
            _ => None,
        }
    }

    /// Makes sure that a loss is noticed although nobody asks.
    fn look_out(self: &Arc<Self>, mut watch: MutexGuard<'_, Watch>) {
        self.list(&mut watch);
        if self.deadline().is_some() && watch.timer.is_none() {
            self.watch_from(&mut watch, self.next_look());
        }
        drop(watch);
        if self.site().is_direct() {
            // It may have been revoked before it was listed.
            self.verify();
        }
        // In a test's time, its deadline may have passed before it was watched.
        if self.is_over() {
            self.lose(Cause::Expired);
        }
    }

    pub(super) fn verify(self: &Arc<Self>) {
        let answer = self.port.verify(Renewal::new(&self.claim, &self.grant, Duration::MAX));
        if let Some(cause) = answer.err().and_then(|error| error.cause()) {
            self.lose(cause);
        }
    }
}

impl Watch {
    /// Leaves word which task to wake, in place of what it said before.
    fn leave_word(&mut self, task: &mut Option<u64>, waker: &Waker) {
        let known = task.and_then(|task| self.tasks.iter_mut().find(|(known, _)| *known == task));
        match known {
            Some((_, known)) => known.clone_from(waker),
            None => {
                self.last_task += 1;
                *task = Some(self.last_task);
                self.tasks.push((self.last_task, waker.clone()));
            }
        }
    }
}

/// The loss of a lease, as a future.
pub(crate) struct UntilLost<'l, P: Port> {
    lease: &'l Arc<Lease<P>>,
    task: Option<u64>,
}

impl<P: Port> Future for UntilLost<'_, P> {
    type Output = Cause;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Cause> {
        let Self { lease, task } = &mut *self;
        if task.is_none() {
            lease.look_out(lease.watch());
        }
        // A machine that was suspended wakes up behind deadlines whose timers have not fired yet.
        if !lease.is_believed() && lease.loss().is_none() {
            lease.status();
        }
        let mut watch = lease.watch();
        if let Some(cause) = lease.loss() {
            return Poll::Ready(cause);
        }
        watch.leave_word(task, cx.waker());
        Poll::Pending
    }
}

impl<P: Port> Drop for UntilLost<'_, P> {
    fn drop(&mut self) {
        if let Some(task) = self.task {
            self.lease.watch().tasks.retain(|(known, _)| *known != task);
        }
    }
}
