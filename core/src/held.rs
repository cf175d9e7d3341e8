//! A lock that is held.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use crate::holding::lock_holding;
use crate::lease::Lease;
use crate::port::{Blocking, Port};
use crate::{Cause, Fence, Handle, Held, Lock, Moment, Owner, Result, Rule, Status, Ttl};

/// The data of a held lock.
#[expect(missing_debug_implementations, reason = "public only inside a sealed trait")]
pub struct Data<B: Handle>(pub(crate) Guard<Blocking<B>>);

/// What releases the lock when it is dropped.
pub(crate) struct Guard<P: Port> {
    lease: Option<Arc<Lease<P>>>,
    release_on_drop: bool,
}

impl<P: Port> Guard<P> {
    pub(crate) fn new(lease: Arc<Lease<P>>) -> Self {
        let release_on_drop = lease.claim().target().release_on_drop;
        Self { lease: Some(lease), release_on_drop }
    }

    pub(crate) fn lease(&self) -> &Arc<Lease<P>> {
        self.lease.as_ref().expect("the lease is taken only when the guard ends")
    }

    /// Says that nothing was done under the lock: however it ends now, its name is free at once.
    pub(crate) fn disuse(&mut self) {
        self.release_on_drop = true;
        self.lease().disuse();
    }

    /// Lets go without a word to the store.
    pub(crate) fn forget(mut self) {
        self.release_on_drop = false;
    }

    /// The lease, which is the caller's to end now.
    pub(crate) fn take(mut self) -> Option<Arc<Lease<P>>> {
        self.lease.take()
    }

    /// How long the grant lasts from now if nothing is renewed.
    pub(crate) fn remaining(&self) -> crate::Lease {
        match self.lease().deadline() {
            Some(deadline) => crate::Lease::For(deadline.since(self.lease().now())),
            None => crate::Lease::Session,
        }
    }
}

impl<P: Port> Drop for Guard<P> {
    fn drop(&mut self) {
        let Some(lease) = self.lease.take() else { return };
        if lease.is_foreign() {
            // A forked child's copy: not even the grant may end here, it is the parent's.
            std::mem::forget(lease);
            return;
        }
        if !self.release_on_drop {
            lease.forget();
            return;
        }
        // Best effort: a backend that panics must not turn an unwinding caller into an abort.
        drop(catch_unwind(AssertUnwindSafe(|| P::end_quietly(lease))));
    }
}

lock_holding!(Lock, Handle, Blocking);

/// Waiting for the loss, renewing, releasing.
impl<B: Handle, R: Rule> Lock<B, Held<R>> {
    /// Blocks until the lock is lost, and tells why. For a thread that watches while others work;
    /// it learns of a loss no later than at the deadline.
    pub fn lost(&self) -> Cause {
        self.lease().wait_for_loss()
    }

    /// Renews the lock's lifetime from now on, unless more of it is left than that. A lock that is
    /// kept alive needs no call.
    ///
    /// # Errors
    ///
    /// `Lost` if it is lost, and always after that. `Unavailable` if the store does not answer; the
    /// lock is then held until its deadline as before, and can be renewed again.
    pub fn renew(&self) -> Result<()> {
        self.lease().renew()
    }

    /// Sets the remaining life to `ttl` from now, be it more or less than before, and stops keeping
    /// it alive; [`keep_alive`](Self::keep_alive) starts that again.
    ///
    /// # Errors
    ///
    /// `Misconfigured` if `ttl` is outside 10 ms to the settings' `max_ttl`, or the lock has no
    /// lease. Otherwise as [`renew`](Self::renew); if the store does not answer, the lock is believed
    /// in for the shorter of the two lifetimes.
    pub fn renew_for(&self, ttl: Duration) -> Result<()> {
        let limit = self.lease().max_ttl();
        self.lease().renew_for(Ttl::at_most(ttl, limit)?)
    }

    /// Releases the lock, and tells whether it was held to the end. Dropping it releases it as
    /// well, but cannot tell.
    ///
    /// # Errors
    ///
    /// `Lost` if it was lost before: somebody else may have held it meanwhile. Never frees that
    /// one's lock. `Unavailable` if the store does not answer; the release is tried again in the
    /// background, and the end of the lease frees the lock at the latest.
    pub fn release(self) -> Result<()> {
        self.data.0.take().map_or(Ok(()), |lease| lease.end())
    }
}
