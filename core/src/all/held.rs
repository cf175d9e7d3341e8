//! A set of locks that is held.

use std::time::Duration;

use super::blocking::BlockingGrip;
use super::group::HeldGroup;
use super::{LockAll, Members};
use crate::{Error, Fence, Handle, Held, Lock, Moment, Result, Rule, Status, Unlocked};

/// Holding all.
///
/// What is said of [one held lock](Lock#impl-Lock<B,+Held<R>>) holds for each of them; the set is
/// held as long as all of them are.
impl<M: Members> LockAll<M, Held> {
    /// The held locks, as they were given: a tuple or a `Vec`. A reference to one of them is the proof
    /// that it is held.
    #[must_use]
    pub fn members(&self) -> &M::Held {
        self.data.members()
    }

    /// The held locks, each by itself from now on.
    #[must_use = "the locks are released when they are dropped"]
    pub fn into_members(self) -> M::Held {
        self.data.into_members()
    }

    /// The fence of each, in the order in which the locks were given.
    #[must_use]
    pub fn fences(&self) -> Vec<Fence> {
        self.data.fences()
    }

    /// When the first of the leases ends if nothing is renewed, as told by [`Lock::deadline`]. `None`
    /// if none of them has a lease.
    #[must_use]
    pub fn deadline(&self) -> Option<Moment> {
        self.data.deadline()
    }

    /// How long all are certainly held if nothing is renewed; `None` if none of them has a lease.
    #[must_use]
    pub fn remaining(&self) -> Option<Duration> {
        self.deadline().map(|deadline| deadline.since(Moment::now()))
    }

    /// The worst that is known of any of them: lost if one is, `Unknown` if a renewal of one is
    /// unanswered.
    #[must_use]
    pub fn status(&self) -> Status {
        self.data.status()
    }

    /// Whether none of them is lost.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.status().is_believed()
    }

    /// Calls `callback` once, when the first of them is lost, with an error of kind `Lost` that names
    /// it; at once if one is lost already; never after a release.
    ///
    /// Callbacks of all locks run one after another on one thread and should not block for long.
    pub fn on_lost(&self, callback: impl FnOnce(Error) + Send + 'static) {
        self.data.on_lost(callback);
    }

    /// Renews the lifetime of each, as [`Lock::renew`] does. Goes on if one cannot be renewed.
    ///
    /// # Errors
    ///
    /// The first error in the order in which the locks were given; it names the lock. `Lost` and
    /// `Unavailable` as for one lock.
    pub fn renew(&self) -> Result<()> {
        let renew = |answer: Result<()>, member: &dyn BlockingGrip| answer.and(member.renew());
        self.members().view().into_iter().fold(Ok(()), renew)
    }

    /// Releases all, from the one that was taken last to the first, also if one of them cannot be.
    /// Dropping the set does the same, but cannot tell.
    ///
    /// # Errors
    ///
    /// The first error, which names the lock: `Lost` if it was lost before, `Unavailable` if its store
    /// does not answer, as for [one lock](Lock::release).
    pub fn release(self) -> Result<()> {
        self.data.unwind().fold(Ok(()), |answer, member| answer.and(member.release()))
    }
}

impl<B: Handle, R: Rule> LockAll<Vec<Lock<B, Unlocked<R>>>, Held> {
    /// The held lock of this name, the first if several stores have one.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&Lock<B, Held<R>>> {
        self.members().iter().find(|member| member.name() == name)
    }
}
