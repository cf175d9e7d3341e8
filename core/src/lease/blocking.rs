//! A lease of a store whose calls block.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use super::end::{LATER_PAUSE, longer};
use super::{End, Lease};
use crate::aio::{Answer, Task};
use crate::port::{Blocking, Port};
use crate::{Error, Handle, Kind, Moment, Release, Renewal, Result, Site, Ttl};

impl<B: Handle> Lease<Blocking<B>> {
    /// Sets the remaining life to the lease's own, unless more is left.
    pub(crate) fn renew(self: &Arc<Self>) -> Result<()> {
        self.exchange_with_store(|sent| self.routine_ttl(sent))
    }

    /// Sets the remaining life to exactly `ttl`, and stops keeping it alive.
    pub(crate) fn renew_for(self: &Arc<Self>, ttl: Ttl) -> Result<()> {
        self.refuse_lifetime_of_session()?;
        self.exchange_with_store(|sent| self.prepare_renew_for(sent, ttl))
    }

    fn exchange_with_store(self: &Arc<Self>, prepare: impl FnOnce(Moment) -> Duration) -> Result<()> {
        let turn = self.exchange.take();
        let exchange = self.begin_exchange(prepare)?;
        let answer = self.port.0.renew(Renewal::new(&self.claim, &self.grant, exchange.ttl));
        self.end_exchange(exchange, answer, Some(turn))
    }

    /// Releases it.
    pub(crate) fn end(self: &Arc<Self>) -> Result<()> {
        let end = self.begin_end()?;
        let answer = self.release(end.keep);
        self.finish_end(end, answer)
    }

    fn release(&self, keep: Option<Duration>) -> Result<()> {
        self.port.0.release(Release::new(&self.claim, &self.grant, keep))
    }
}

impl<B: Handle> Port for Blocking<B> {
    type Grant = B::Grant;

    fn site(&self) -> &Site {
        self.0.site()
    }

    fn verify(&self, due: Renewal<'_, B::Grant>) -> Result<()> {
        self.0.renew(due)
    }

    fn renew_together(leases: Vec<Arc<Lease<Self>>>) {
        let Some(backend) = leases.first().map(|lease| lease.port.0.clone()) else { return };
        // A lease whose lifetime is being changed by its holder right now needs no second request.
        let live: Vec<_> = leases
            .iter()
            .filter_map(|lease| {
                let turn = lease.exchange.try_take().filter(|_| lease.is_to_be_renewed());
                if turn.is_none() {
                    lease.end_renewal();
                }
                Some((lease, turn?))
            })
            .collect();
        let sent = backend.site().now();
        let exchanges: Vec<_> = live.iter().map(|(lease, _)| lease.routine_exchange(sent)).collect();
        let due: Vec<_> = live
            .iter()
            .zip(&exchanges)
            .map(|((lease, _), exchange)| Renewal::new(&lease.claim, &lease.grant, exchange.ttl))
            .collect();
        let answers = catch_unwind(AssertUnwindSafe(|| backend.renew_many(&due))).unwrap_or_default();
        let mut answers = answers.into_iter();
        for ((lease, turn), exchange) in live.into_iter().zip(exchanges) {
            drop(lease.settle(exchange, answers.next().unwrap_or_else(unanswered)));
            drop(turn);
            lease.end_renewal();
        }
    }

    fn end_quietly(lease: Arc<Lease<Self>>) {
        drop(lease.end());
    }

    fn release_later(lease: Arc<Lease<Self>>, end: End) {
        let until = lease.worth_releasing_until();
        let mut pause = LATER_PAUSE;
        lease.site().clone().run_later(move || {
            let answer = lease.answered(&end, lease.release(end.keep));
            let unanswered = answer.is_err_and(|error| error.is_unavailable());
            if unanswered && lease.now() < until {
                pause = longer(pause);
                return Some(pause);
            }
            lease.site().released(lease.claim.key());
            None
        });
    }

    fn give_up(lease: Arc<Lease<Self>>) -> Result<()> {
        let Some(end) = lease.begin_giving_up() else { return Ok(()) };
        let answer = lease.answered(&end, lease.release(end.keep));
        lease.site().released(lease.claim.key());
        answer.map_err(|error| lease.error(error))
    }

    fn give_up_polled(lease: Arc<Lease<Self>>) -> Task<Result<()>> {
        let (give, answer) = Answer::new();
        let site = lease.site().clone();
        let mut work = Some(move || give.give(Self::give_up(lease)));
        site.run_later(move || {
            if let Some(work) = work.take() {
                work();
            }
            None
        });
        Box::pin(async { answer.await.unwrap_or_else(unanswered) })
    }
}

pub(super) fn unanswered() -> Result<()> {
    Err(Error::new(Kind::Unavailable, "the backend did not answer"))
}
