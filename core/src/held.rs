//! A lock that is held.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use crate::lease::Lease;
use crate::{Cause, Fence, Handle, Held, Lock, Moment, Owner, Result, Rule, Status, Ttl};

/// The data of a held lock; dropping it releases the lock.
#[expect(missing_debug_implementations, reason = "public only inside a sealed trait")]
pub struct Guard<B: Handle> {
    lease: Option<Arc<Lease<B>>>,
    release_on_drop: bool,
}

impl<B: Handle> Guard<B> {
    pub(crate) fn new(lease: Arc<Lease<B>>) -> Self {
        let release_on_drop = lease.claim().target().release_on_drop;
        Self { lease: Some(lease), release_on_drop }
    }

    fn lease(&self) -> &Arc<Lease<B>> {
        self.lease.as_ref().expect("the lease is taken only when the guard ends")
    }

    /// Says that nothing was done under the lock: however it ends now, its name is free at once.
    pub(crate) fn disuse(&mut self) {
        self.release_on_drop = true;
        self.lease().disuse();
    }

    /// The error that tells of its loss.
    pub(crate) fn loss(&self, cause: Cause) -> crate::Error {
        self.lease().error(crate::Error::lost(cause))
    }

    /// How long the grant lasts from now if nothing is renewed.
    pub(crate) fn remaining(&self) -> crate::Lease {
        match self.lease().deadline() {
            Some(deadline) => crate::Lease::For(deadline.since(Moment::now())),
            None => crate::Lease::Session,
        }
    }
}

impl<B: Handle> Drop for Guard<B> {
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
        drop(catch_unwind(AssertUnwindSafe(|| lease.end())));
    }
}

/// Holding.
///
/// A held lock says that it *was granted*. That it still is, is known up to its
/// [`deadline`](Self::deadline) only, and [`status`](Self::status) tells; a program that is paused
/// between asking and acting can always be late. What must never be written twice has to compare
/// [`fence`](Self::fence) at the place where it is written.
impl<B: Handle, R: Rule> Lock<B, Held<R>> {
    /// The number of this grant, larger than that of every earlier grant of the name.
    #[must_use]
    pub fn fence(&self) -> Fence {
        self.lease().fence()
    }

    /// The token that makes the lock this holder's; with it, it can be
    /// [restored](Lock::restore).
    #[must_use]
    pub fn owner(&self) -> Owner {
        self.lease().claim().owner()
    }

    /// The name, without the settings' prefix.
    #[must_use]
    pub fn name(&self) -> &str {
        self.lease().claim().name()
    }

    /// Until when the lock is certainly held if nothing is renewed: one percent and two
    /// milliseconds before the lease ends. `None` if it has no lease.
    #[must_use]
    pub fn deadline(&self) -> Option<Moment> {
        self.lease().deadline()
    }

    /// How long the lock is certainly held if nothing is renewed; `None` if it has no lease.
    #[must_use]
    pub fn remaining(&self) -> Option<Duration> {
        self.deadline().map(|deadline| deadline.since(Moment::now()))
    }

    /// What is known of the lock now, without asking the store.
    ///
    /// Never [`Status::Held`] after the deadline, even in a process that was stopped and woke up.
    #[must_use]
    pub fn status(&self) -> Status {
        self.lease().status()
    }

    /// Whether the lock is certainly held now, or was at the last answer and its lease has not
    /// ended.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.status().is_believed()
    }

    /// Blocks until the lock is lost, and tells why. For a thread that watches while others work;
    /// it learns of a loss no later than at the deadline.
    pub fn lost(&self) -> Cause {
        self.lease().wait_for_loss()
    }

    /// Calls `callback` once when the lock is lost, at once if it is already; never after a
    /// release.
    ///
    /// Callbacks of all locks run one after another on one thread and should not block for long.
    pub fn on_lost(&self, callback: impl FnOnce(Cause) + Send + 'static) {
        self.lease().on_lost(Box::new(callback));
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

    /// Renews the lock in the background until it is released or lost, whatever its lifetime was.
    pub fn keep_alive(&self) {
        self.lease().keep_alive();
    }

    /// What the backend keeps of the grant.
    #[must_use]
    pub fn grant(&self) -> &B::Grant {
        self.lease().grant()
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
        let mut held = self;
        held.data.lease.take().map_or(Ok(()), |lease| lease.end())
    }

    fn lease(&self) -> &Arc<Lease<B>> {
        self.data.lease()
    }
}

impl<B: Handle, R: Rule> fmt::Debug for Lock<B, Held<R>> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lock")
            .field("name", &self.name())
            .field("fence", &self.fence())
            .field("deadline", &self.deadline())
            .finish_non_exhaustive()
    }
}
