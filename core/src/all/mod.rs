//! Several locks taken together, or none of them.

mod blocking;
mod grip;
mod group;
mod held;
mod holding;
mod order;
mod polled;
mod seat;
mod table;
mod together;

pub(crate) use group::{Group, HeldGroup, Way};
pub(crate) use holding::set_holding;
pub(crate) use polled::{Awaits, take_all as take_all_polled};
pub(crate) use table::Patience;
pub(crate) use together::Together;

use std::fmt;
use std::panic::Location;
use std::time::Duration;

use blocking::{Blocks, take_all};

use crate::{
    Backend, Error, Fence, Handle, Held, IntoName, Lock, Moment, Ran, Result, Rule, State, Status, Unlocked,
};

/// Locks of one store or of several that are held together or not at all.
///
/// ```
/// # use tenure_core::{Handle, Held, Lock, LockAll, Result};
/// # fn demo<F: Handle, G: Handle>(files: F, memory: G) -> Result<()> {
/// // Names of one store.
/// let transfer = LockAll::new(&files, ["account 7", "account 12"]).acquire()?;
/// let [from, to] = transfer.members().as_slice() else { unreachable!() };
/// transfer.release()?;
///
/// // Locks of several stores, each with its own options and its own type.
/// let both = LockAll::of((Lock::new(&files, "ledger").label("audit"), Lock::new(&memory, "cache")));
/// let held = both.try_acquire()?;
/// let (ledger, cache) = held.members();
/// write_report(ledger);
/// # Ok(())
/// # }
///
/// fn write_report<B: Handle>(proof: &Lock<B, Held>) {
///     let fence = proof.fence();
/// }
/// ```
///
/// Whether the locks are held is part of the type: what is not held cannot be released.
///
/// ```compile_fail,E0599
/// # use tenure_core::{Handle, LockAll};
/// # fn demo<B: Handle>(store: B) {
/// LockAll::new(&store, ["a", "b"]).release();
/// # }
/// ```
///
/// # In which order, and why that never ends in a circle
///
/// The locks are taken in the order of their stores' labels and of their keys, whatever order they
/// were given in, and waited for one after another. So threads and processes that name the stores by
/// the same URLs cannot wait for each other in a circle.
///
/// Those that name a store differently, as by a relative path or another host name, may not agree on
/// the order, and code that takes several locks without `LockAll` may not have one. A circle with
/// these is broken: nobody waits for a lock while holding others for longer than a quarter to half a
/// second (later, after dozens of vain attempts, up to a minute). Then all are released, the one that
/// was not free is waited for with nothing in hand, and the others are taken if they are free. That
/// costs time wherever it happens, so let everybody use the same URLs. It does not help against a lock
/// that is held *beside* the set: take all that you need in one set.
///
/// So what others could use is not kept for long either while a lock of the set is taken for hours.
///
/// # What is held while others are waited for
///
/// Locks with a fixed [`ttl`](Lock::ttl) are kept alive until the set is complete, and have their
/// whole ttl from then on. A lock that is lost before that is taken anew, together with all others.
/// What is let go of before the set was complete is free at once, whatever
/// [`hold_at_least`](Lock::hold_at_least) and [`release_on_drop`](Lock::release_on_drop) say.
#[must_use = "locks do nothing until they are acquired, and held locks are released when they are dropped"]
pub struct LockAll<M: Members, S: State = Unlocked> {
    data: S::All<Blocks, M>,
}

/// Locks that can be taken together by [`LockAll`]: a tuple of one to eight [`Lock`]s of any stores, or
/// a `Vec` of locks of one type.
///
/// While they are held, they are the same tuple of `Lock<_, Held>` or `Vec` of `Lock<_, Held>`. Stores
/// of several types that are known only at run time go into one `Vec` as
/// [`AnyBackend`](crate::AnyBackend).
pub trait Members: Group<Blocks> {}

impl<M: Group<Blocks>> Members for M {}

impl<B: Handle> LockAll<Vec<Lock<B>>> {
    /// Locks of one store, without options; see [`of`](Self::of) for locks with options.
    ///
    /// Speaks to nobody. A name that no lock can have is reported by the first acquire, and so is a
    /// name that is given twice.
    pub fn new<T, N>(store: T, names: N) -> Self
    where
        T: Backend<Handle = B>,
        N: IntoIterator<Item: IntoName>,
    {
        Self::of(names.into_iter().map(|name| Lock::new(&store, name)).collect())
    }
}

/// Acquiring.
impl<M: Members> LockAll<M> {
    /// Locks of any stores, with the options that they have: a tuple of up to eight, or a `Vec`.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use tenure_core::{Handle, Lock, LockAll, Result};
    /// # fn demo<B: Handle>(store: B, names: Vec<String>) -> Result<()> {
    /// let minute = Duration::from_secs(60);
    /// let locks = names.into_iter().map(|name| Lock::new(&store, name).ttl(minute));
    /// let held = LockAll::of(locks.collect::<Vec<_>>()).acquire()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn of(members: M) -> Self {
        Self { data: members }
    }

    /// Gets all locks if all are free, without waiting; otherwise none.
    ///
    /// # Errors
    ///
    /// Those of [`Lock::try_acquire`], naming the lock that could not be had. `Lost` if a lock was
    /// lost before the last one was granted. `Misconfigured` if there is no lock in the set, or the
    /// same one twice. Through two handles of one store that is found where a denial tells the
    /// [fence](crate::Denied::holder) of whoever has the lock. Where it does not, as with `Flock`, or with
    /// Redis once the server has evicted the fence, the set stands in its own way as others would.
    #[track_caller]
    pub fn try_acquire(&self) -> Result<LockAll<M, Held>> {
        self.take(Patience::None, Location::caller())
    }

    /// Waits for all locks as long as it takes.
    ///
    /// # Errors
    ///
    /// As [`try_acquire`](Self::try_acquire), but never `Contended`. `Unavailable` as for
    /// [`Lock::acquire`]. `Lost` if locks were lost three times before the set was complete, as with a ttl
    /// that is shorter than the stores take to answer.
    #[track_caller]
    pub fn acquire(&self) -> Result<LockAll<M, Held>> {
        self.take(Patience::Endless, Location::caller())
    }

    /// Waits for all locks together at most `limit`. Asks for each at least once, if those before it
    /// were free.
    ///
    /// # Errors
    ///
    /// `TimedOut`, naming the lock that was not free at the end. Otherwise as
    /// [`acquire`](Self::acquire).
    #[track_caller]
    pub fn acquire_for(&self, limit: Duration) -> Result<LockAll<M, Held>> {
        self.take(Patience::Until(self.data.now() + limit), Location::caller())
    }

    /// Waits for all locks until `deadline`, an [`Instant`](std::time::Instant) or a [`Moment`].
    ///
    /// # Errors
    ///
    /// As [`acquire_for`](Self::acquire_for).
    #[track_caller]
    pub fn acquire_until(&self, deadline: impl Into<Moment>) -> Result<LockAll<M, Held>> {
        self.take(Patience::Until(deadline.into()), Location::caller())
    }

    /// Waits for all locks, runs `work` with them, and releases them, also when `work` panics.
    ///
    /// ```
    /// # use tenure_core::{Handle, LockAll, Result};
    /// # fn demo<B: Handle>(store: B) -> Result<()> {
    /// let sum = LockAll::new(&store, ["ledger", "stock"]).run(|held| 2 + 2)?.kept()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`acquire`](Self::acquire); `work` was not run then. That a lock was lost meanwhile is told
    /// by [`Ran`].
    #[track_caller]
    pub fn run<T>(&self, work: impl FnOnce(&LockAll<M, Held>) -> T) -> Result<Ran<T>> {
        let held = self.acquire()?;
        let value = work(&held);
        Ok(Ran::new(value, held.release()))
    }

    fn take(&self, patience: Patience, place: &'static Location<'static>) -> Result<LockAll<M, Held>> {
        Ok(LockAll { data: take_all(&self.data, patience, place)? })
    }
}

set_holding!(LockAll, Members, Lock, Handle);
