//! What a lease is to others: to its site, one of the locks that the process holds; to the engine,
//! something to be renewed in time.

use std::any::Any;
use std::panic::Location;
use std::sync::Arc;

use super::{CAUSES, ENDED, HELD, LOST, Lease, UNKNOWN};
use crate::aio::Task;
use crate::engine::{Due, Watched};
use crate::observe::Event;
use crate::port::Port;
use crate::site::HeldHere;
use crate::sync::atomic::Ordering;
use crate::{Cause, Mode, Moment, Owner, Result, Site, callbacks};

impl<P: Port> HeldHere for Lease<P> {
    fn owner(&self) -> Owner {
        self.claim.owner()
    }

    fn place(&self) -> &'static Location<'static> {
        self.claim.place()
    }

    fn is_exclusive(&self) -> bool {
        self.claim.mode() == Mode::Exclusive
    }

    fn is_believed(&self) -> bool {
        self.phase.load(Ordering::SeqCst) < ENDED && !self.is_over()
    }

    fn lose(&self, cause: Cause) -> bool {
        let phase = LOST + CAUSES.iter().position(|known| *known == cause).map_or(0, |index| index as u8);
        let mut watch = self.watch();
        let lost = self
            .phase
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |before| (before < ENDED).then_some(phase));
        if lost.is_err() {
            return false;
        }
        let callbacks = std::mem::take(&mut watch.callbacks);
        let tasks = std::mem::take(&mut watch.tasks);
        self.lost.notify_all();
        drop(watch);
        let held = self.over();
        tasks.into_iter().for_each(|(_, task)| task.wake());
        self.unlist();
        self.site().notify(self.claim.key());
        self.tell(Event::Lost { fence: self.fence, held, cause });
        callbacks::call(callbacks, cause);
        true
    }

    fn doubt(&self) {
        // Under the watch's mutex, so that an answer or a `renew_for` at the same time comes before or
        // after.
        let watch = self.watch();
        self.doubts.fetch_add(1, Ordering::SeqCst);
        let _ = self.phase.compare_exchange(HELD, UNKNOWN, Ordering::SeqCst, Ordering::SeqCst);
        if self.is_to_be_renewed() {
            self.renew_at.store(0, Ordering::SeqCst);
        }
        drop(watch);
        self.watch_again();
    }

    fn give_up(self: Arc<Self>) -> Result<()> {
        match self.is_believed() && !self.is_foreign() {
            true => P::give_up(self),
            false => Ok(()),
        }
    }

    fn give_up_polled(self: Arc<Self>) -> Task<Result<()>> {
        match self.is_believed() && !self.is_foreign() {
            true => P::give_up_polled(self),
            false => Box::pin(std::future::ready(Ok(()))),
        }
    }
}

impl<P: Port> Watched for Lease<P> {
    fn site(&self) -> &Site {
        self.port.site()
    }

    fn due(&self, now: Moment) -> Due {
        if self.phase.load(Ordering::SeqCst) >= ENDED {
            return Due::Over;
        }
        let deadline = self.deadline().unwrap_or(Moment::FAR);
        if deadline <= now {
            return Due::Expired;
        }
        let renew_at = Moment::from_nanos(self.renew_at.load(Ordering::SeqCst));
        if renew_at > now || self.renewing.swap(true, Ordering::SeqCst) {
            return Due::At(if renew_at > now { deadline.min(renew_at) } else { deadline });
        }
        Due::Renew(deadline)
    }

    fn expire(&self) {
        self.lose(Cause::Expired);
    }

    fn renew_batch(self: Arc<Self>, batch: Vec<Arc<dyn Watched>>) {
        let leases: Vec<Arc<Self>> = batch
            .into_iter()
            .filter_map(|lease| (lease as Arc<dyn Any + Send + Sync>).downcast().ok())
            .collect();
        for leases in leases.chunks(BATCH) {
            P::renew_together(leases.to_vec());
        }
    }
}

/// How many renewals go out together, so that the first of a hundred thousand does not wait for
/// the last one's answer.
const BATCH: usize = 1024;
