//! What a lease is to others: to its site, one of the locks that the process holds; to the engine,
//! something to be renewed in time.

use std::any::Any;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{CAUSES, ENDED, LOST, Lease};
use crate::engine::{Due, Watched};
use crate::site::HeldHere;
use crate::{Cause, Error, Handle, Kind, Mode, Moment, Owner, Release, Renewal, Result, Site, callbacks};

impl<B: Handle> HeldHere for Lease<B> {
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

    fn lose(&self, cause: Cause) {
        let phase = LOST + CAUSES.iter().position(|known| *known == cause).map_or(0, |index| index as u8);
        let mut watch = self.watch();
        let lost = self
            .phase
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |before| (before < ENDED).then_some(phase));
        if lost.is_err() {
            return;
        }
        let callbacks = std::mem::take(&mut watch.callbacks);
        self.lost.notify_all();
        drop(watch);
        self.unlist();
        self.site().notify(self.claim.key());
        #[cfg(feature = "tracing")]
        tracing::warn!(
            store = self.site().label(),
            lock = self.claim.name(),
            fence = self.fence.get(),
            ?cause,
            "lock lost"
        );
        callbacks::call(callbacks, cause);
    }

    fn give_up(&self) -> Result<()> {
        if !self.is_believed() || self.is_foreign() {
            return Ok(());
        }
        let keep = self.keep();
        HeldHere::lose(self, Cause::Released);
        let answer = self.backend.release(Release::new(&self.claim, &self.grant, keep));
        self.site().notify(self.claim.key());
        answer.map_err(|error| self.error(error))
    }
}

impl<B: Handle> Watched for Lease<B> {
    fn site(&self) -> &Site {
        self.backend.site()
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
            renew_together(&self.backend, leases);
        }
    }
}

/// How many renewals go out together, so that the first of a hundred thousand does not wait for
/// the last one's answer.
const BATCH: usize = 1024;

fn renew_together<B: Handle>(backend: &B, leases: &[Arc<Lease<B>>]) {
    // A lease whose lifetime is being changed by its holder right now needs no second request.
    let live: Vec<_> = leases
        .iter()
        .filter_map(|lease| match lease.exchange.try_lock() {
            Ok(exchange) => Some((lease, exchange)),
            Err(_) => {
                lease.renewing.store(false, Ordering::SeqCst);
                None
            }
        })
        .filter(|(lease, _)| lease.phase.load(Ordering::SeqCst) < ENDED)
        .collect();
    let sent = Moment::now();
    let due: Vec<_> = live
        .iter()
        .map(|(lease, _)| Renewal::new(&lease.claim, &lease.grant, lease.routine_ttl(sent)))
        .collect();
    let answers = catch_unwind(AssertUnwindSafe(|| backend.renew_many(&due))).unwrap_or_default();
    let ttls: Vec<_> = due.iter().map(Renewal::ttl).collect();
    let mut answers = answers.into_iter();
    for ((lease, exchange), ttl) in live.into_iter().zip(ttls) {
        let unanswered = || Err(Error::new(Kind::Unavailable, "the backend did not answer this renewal"));
        lease.settle(sent, ttl, &answers.next().unwrap_or_else(unanswered));
        drop(exchange);
        lease.renewing.store(false, Ordering::SeqCst);
        lease.watch_again();
    }
}
