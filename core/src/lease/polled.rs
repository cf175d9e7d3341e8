//! A lease of a store whose calls are futures.

use std::mem;
use std::sync::Arc;
use std::time::Duration;

use super::blocking::unanswered;
use super::end::{LATER_PAUSE, longer};
use super::{End, Exchange, Lease};
use crate::aio::{Alarm, AsyncHandle, Task, at_once};
use crate::port::{Polled, Port};
use crate::turns::Turn;
use crate::{Moment, Release, Renewal, Result, Site, Ttl};

impl<B: AsyncHandle> Lease<Polled<B>> {
    /// Sets the remaining life to the lease's own, unless more is left.
    pub(crate) async fn renew(self: &Arc<Self>) -> Result<()> {
        self.exchange_with_store(|sent| self.routine_ttl(sent)).await
    }

    /// Sets the remaining life to exactly `ttl`, and stops keeping it alive.
    pub(crate) async fn renew_for(self: &Arc<Self>, ttl: Ttl) -> Result<()> {
        self.refuse_lifetime_of_session()?;
        self.exchange_with_store(|sent| self.prepare_renew_for(sent, ttl)).await
    }

    async fn exchange_with_store(self: &Arc<Self>, prepare: impl FnOnce(Moment) -> Duration) -> Result<()> {
        let turn = self.exchange.take_polled().await;
        let exchange = self.begin_exchange(prepare)?;
        let asking = Asking { lease: self, exchange: Some(exchange), turn: Some(turn) };
        let answer = self.port.0.renew(Renewal::new(&self.claim, &self.grant, exchange.ttl)).await;
        let turn = asking.answered();
        self.end_exchange(exchange, answer, turn)
    }

    /// A renewal did not go out, because its task was dropped: a runtime that has ended will drop the next
    /// one too, so that it comes no sooner than after an answer that got lost.
    fn not_asked(self: &Arc<Self>) {
        if let Some(_turn) = self.exchange.try_take()
            && self.is_to_be_renewed()
        {
            drop(self.settle(self.routine_exchange(self.now()), unanswered()));
        }
    }

    /// Releases it; goes on in the background if the future is dropped.
    pub(crate) async fn end(self: &Arc<Self>) -> Result<()> {
        let end = self.begin_end()?;
        let leaving = Leaving { lease: self, end: Some(&end) };
        let answer = self.release(end.keep).await;
        leaving.answered();
        self.finish_end(end, answer)
    }

    async fn release(&self, keep: Option<Duration>) -> Result<()> {
        self.port.0.release(Release::new(&self.claim, &self.grant, keep)).await
    }

    /// Releases it, and tries again while the store does not answer.
    async fn release_until_answered(self: &Arc<Self>, end: End) {
        let until = self.worth_releasing_until();
        let mut pause = LATER_PAUSE;
        while self.answered(&end, self.release(end.keep).await).is_err_and(|error| error.is_unavailable()) {
            if self.site().now() >= until {
                break;
            }
            pause = longer(pause);
            Alarm::new(self.site()).sleep_until(self.site().now() + pause).await;
        }
        self.site().released(self.claim.key());
    }
}

/// A renewal under way; whether it reached the store is unknown if it is dropped before its end.
struct Asking<'l, B: AsyncHandle> {
    lease: &'l Arc<Lease<Polled<B>>>,
    exchange: Option<Exchange>,
    turn: Option<Turn<'l>>,
}

impl<'l, B: AsyncHandle> Asking<'l, B> {
    fn answered(mut self) -> Option<Turn<'l>> {
        self.exchange = None;
        self.turn.take()
    }
}

impl<B: AsyncHandle> Drop for Asking<'_, B> {
    fn drop(&mut self) {
        if let Some(exchange) = self.exchange {
            self.lease.unanswered(exchange, self.turn.take());
        }
    }
}

/// A release under way; what is dropped before its end is released in the background.
struct Leaving<'l, B: AsyncHandle> {
    lease: &'l Arc<Lease<Polled<B>>>,
    end: Option<&'l End>,
}

impl<B: AsyncHandle> Leaving<'_, B> {
    fn answered(mut self) {
        self.end = None;
    }
}

impl<B: AsyncHandle> Drop for Leaving<'_, B> {
    fn drop(&mut self) {
        if let Some(end) = self.end {
            Polled::release_later(self.lease.clone(), *end);
        }
    }
}

impl<B: AsyncHandle> Port for Polled<B> {
    type Grant = B::Grant;

    fn site(&self) -> &Site {
        self.0.site()
    }

    /// Only stores inside the process are asked so, and they answer at once.
    fn verify(&self, due: Renewal<'_, B::Grant>) -> Result<()> {
        at_once(self.0.renew(due)).unwrap_or(Ok(()))
    }

    fn renew_together(leases: Vec<Arc<Lease<Self>>>) {
        let Some(backend) = leases.first().map(|lease| lease.port.0.clone()) else { return };
        let renewing = Renewing { leases, begun: false };
        backend.clone().spawn(Box::pin(async move { renewing.all(&backend).await }));
    }

    fn end_quietly(lease: Arc<Lease<Self>>) {
        let Ok(end) = lease.begin_end() else { return };
        if lease.site().is_direct()
            && let Some(answer) = at_once(lease.release(end.keep))
        {
            drop(lease.finish_end(end, answer));
            return;
        }
        Self::release_later(lease, end);
    }

    fn release_later(lease: Arc<Lease<Self>>, end: End) {
        let backend = lease.port.0.clone();
        backend.spawn(Box::pin(async move { lease.release_until_answered(end).await }));
    }

    fn give_up(lease: Arc<Lease<Self>>) -> Result<()> {
        if let Some(end) = lease.begin_giving_up() {
            Self::release_later(lease, end);
        }
        Ok(())
    }

    fn give_up_polled(lease: Arc<Lease<Self>>) -> Task<Result<()>> {
        Box::pin(async move {
            let Some(end) = lease.begin_giving_up() else { return Ok(()) };
            let leaving = Leaving { lease: &lease, end: Some(&end) };
            let answer = lease.release(end.keep).await;
            leaving.answered();
            let answer = lease.answered(&end, answer);
            lease.site().released(lease.claim.key());
            answer.map_err(|error| lease.error(error))
        })
    }
}

/// Leases that are being renewed; they can be renewed again when this ends, however it ends.
struct Renewing<B: AsyncHandle> {
    leases: Vec<Arc<Lease<Polled<B>>>>,
    /// Whether the task was ever polled; one that was not has asked for nothing.
    begun: bool,
}

impl<B: AsyncHandle> Renewing<B> {
    async fn all(mut self, backend: &B) {
        self.begun = true;
        let turns = self.leases.iter().map(|lease| (lease, lease.exchange.try_take()));
        // A lease whose lifetime is being changed by its holder right now needs no second request.
        let live: Vec<_> = turns
            .filter_map(|(lease, turn)| Some((lease, turn?)))
            .filter(|(lease, _)| lease.is_to_be_renewed())
            .collect();
        let sent = backend.site().now();
        let exchanges: Vec<_> = live.iter().map(|(lease, _)| lease.routine_exchange(sent)).collect();
        let due: Vec<_> = live
            .iter()
            .zip(&exchanges)
            .map(|((lease, _), exchange)| Renewal::new(&lease.claim, &lease.grant, exchange.ttl))
            .collect();
        let asking: Vec<_> = live
            .into_iter()
            .zip(&exchanges)
            .map(|((lease, turn), exchange)| Asking { lease, exchange: Some(*exchange), turn: Some(turn) })
            .collect();
        let mut answers = backend.renew_many(&due).await.into_iter();
        for (asking, exchange) in asking.into_iter().zip(&exchanges) {
            let (lease, turn) = (asking.lease, asking.answered());
            drop(lease.settle(*exchange, answers.next().unwrap_or_else(unanswered)));
            drop(turn);
        }
    }
}

impl<B: AsyncHandle> Drop for Renewing<B> {
    fn drop(&mut self) {
        for lease in mem::take(&mut self.leases) {
            if !self.begun {
                lease.not_asked();
            }
            lease.end_renewal();
        }
    }
}
