//! An asynchronous lock that is not held: its options, and the ways to get it.

use std::fmt;
use std::panic::{Location, RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use std::time::Duration;

use super::{AsyncBackend, AsyncHandle};
use crate::claim::Target;
use crate::lock::Plan;
use crate::options::lock_options;
use crate::{
    Claim, Error, IntoName, Mode, Moment, Owner, Permit, Permits, Result, Rule, SessionLocks, Shared,
    SharedLocks, Site, State, Unlocked,
};

/// A named lock of a store for asynchronous code, not held ([`Unlocked`]) or held
/// ([`Held`](crate::Held)); the sibling of [`tenure::Lock`](crate::Lock), in the same words.
///
/// Locks belong to values, not to tasks: a held one can be moved into another task, kept in a struct,
/// and outlives the task that got it.
///
/// What is not held cannot be released:
///
/// ```compile_fail,E0599
/// # use tenure_core::aio::{AsyncHandle, Lock};
/// # async fn demo<B: AsyncHandle>(store: B) {
/// Lock::new(&store, "nightly report").release().await;
/// # }
/// ```
///
/// A share of a lock is no proof of holding it alone:
///
/// ```compile_fail,E0308
/// # use tenure_core::{Held, Result, SharedLocks, aio::{AsyncHandle, Lock}};
/// # fn write_report<B: AsyncHandle>(proof: &Lock<B, Held>) {}
/// # async fn demo<B: AsyncHandle + SharedLocks>(store: B) -> Result<()> {
/// write_report(&Lock::new(&store, "nightly report").shared().acquire().await?);
/// # Ok(())
/// # }
/// ```
#[must_use = "a lock does nothing until it is acquired, and a held lock is released when it is dropped"]
pub struct Lock<B: AsyncHandle, S: State = Unlocked> {
    pub(crate) data: S::AsyncData<B>,
}

impl<B: AsyncHandle> Lock<B> {
    /// A lock of a store. Takes the store by value, by `&`, or in an `Arc` or `Box`.
    ///
    /// Speaks to nobody. A name that no lock can have is reported by the first acquire.
    pub fn new<T: AsyncBackend<Handle = B>>(store: T, name: impl IntoName) -> Self {
        let target = Arc::new(Target::new(store.site(), name));
        Self { data: Plan { backend: store.handle(), target } }
    }

    /// Lets any number of readers hold the lock while nobody holds it alone.
    pub fn shared(self) -> Lock<B, Unlocked<Shared>>
    where
        B: SharedLocks,
    {
        self.option(|target| target.mode = Mode::Shared).ruled()
    }

    /// Lets at most `limit` holders hold the lock at once, from 1 to `u32::MAX`; with 0, every acquire is
    /// `Misconfigured`. All should give the same limit; see [`Lock::permit`](crate::Lock::permit).
    pub fn permit(self, limit: u32) -> Lock<B, Unlocked<Permit>>
    where
        B: Permits,
    {
        self.option(|target| target.mode = Mode::Permit { limit }).ruled()
    }

    fn ruled<R: Rule>(self) -> Lock<B, Unlocked<R>> {
        Lock { data: self.data }
    }
}

lock_options!(Lock, AsyncHandle);

// What a panic interrupts is the store's answer; nothing in here is left half done.
impl<B: AsyncHandle, S: State> UnwindSafe for Lock<B, S> {}
impl<B: AsyncHandle, S: State> RefUnwindSafe for Lock<B, S> {}
