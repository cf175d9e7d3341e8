//! An asynchronous lock that is held.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use super::{AsyncHandle, Lock};
use crate::held::Guard;
use crate::holding::lock_holding;
use crate::lease::Lease;
use crate::port::Polled;
use crate::{Cause, Error, Fence, Held, Moment, Owner, Result, Rule, Status, Ttl};

/// The data of a held lock.
#[expect(missing_debug_implementations, reason = "public only inside a sealed trait")]
pub struct Data<B: AsyncHandle>(pub(crate) Guard<Polled<B>>);

lock_holding!(Lock, AsyncHandle, Polled);

/// Waiting for the loss, renewing, releasing.
impl<B: AsyncHandle, R: Rule> Lock<B, Held<R>> {
    /// Waits until the lock is lost, and tells why; learns of a loss no later than at the deadline.
    ///
    /// # Cancel safety
    ///
    /// Can be dropped and called again; a loss is not missed.
    pub async fn lost(&self) -> Cause {
        self.lease().until_lost().await
    }

    /// Runs `work` as long as the lock is held: ends with its result, or with an error as soon as the
    /// lock is lost, dropping `work` where it stands.
    ///
    /// What must not be done without the lock should still compare [`fence`](Self::fence) where it
    /// takes effect: a request that `work` had sent is not called back.
    ///
    /// # Errors
    ///
    /// `Lost` if the lock is lost before `work` is done.
    ///
    /// # Cancel safety
    ///
    /// Dropping it drops `work`; the lock stays held.
    pub async fn guarded<F: Future>(&self, work: F) -> Result<F::Output> {
        let mut work = pin!(work);
        let mut lost = pin!(self.lease().until_lost());
        poll_fn(|cx| {
            if let Poll::Ready(cause) = lost.as_mut().poll(cx) {
                return Poll::Ready(Err(self.lease().error(Error::lost(cause))));
            }
            work.as_mut().poll(cx).map(Ok)
        })
        .await
    }

    /// Renews the lock's lifetime from now on, unless more of it is left than that. A lock that is
    /// kept alive needs no call.
    ///
    /// # Errors
    ///
    /// `Lost` if it is lost, and always after that. `Unavailable` if the store does not answer; the
    /// lock is then held until its deadline as before, and can be renewed again.
    ///
    /// # Cancel safety
    ///
    /// Dropped half-way, it counts as a renewal that went unanswered.
    pub async fn renew(&self) -> Result<()> {
        self.lease().renew().await
    }

    /// Sets the remaining life to `ttl` from now, be it more or less than before, and stops keeping
    /// it alive; [`keep_alive`](Self::keep_alive) starts that again.
    ///
    /// # Errors
    ///
    /// `Misconfigured` if `ttl` is outside 10 ms to the settings' `max_ttl`, or the lock has no
    /// lease. Otherwise as [`renew`](Self::renew); if the store does not answer, the lock is believed
    /// in for the shorter of the two lifetimes.
    ///
    /// # Cancel safety
    ///
    /// Dropped half-way, it counts as a renewal that went unanswered: the lock is believed in for the
    /// shorter of the two lifetimes.
    pub async fn renew_for(&self, ttl: Duration) -> Result<()> {
        let limit = self.lease().max_ttl();
        self.lease().renew_for(Ttl::at_most(ttl, limit)?).await
    }

    /// Releases the lock, and tells whether it was held to the end. Dropping it releases it as
    /// well, in the background, but cannot tell.
    ///
    /// # Errors
    ///
    /// `Lost` if it was lost before: somebody else may have held it meanwhile. Never frees that
    /// one's lock. `Unavailable` if the store does not answer; the release is tried again in the
    /// background, and the end of the lease frees the lock at the latest.
    ///
    /// # Cancel safety
    ///
    /// Dropped at any point, the release goes on in the background.
    pub async fn release(self) -> Result<()> {
        match self.data.0.take() {
            Some(lease) => lease.end().await,
            None => Ok(()),
        }
    }
}
