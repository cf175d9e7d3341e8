//! Several asynchronous locks taken together, or none of them.

use std::fmt;
use std::future::{Future, poll_fn};
use std::panic::Location;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use super::{AsyncBackend, AsyncHandle, Lock};
use crate::all::{Awaits, Group, HeldGroup, Patience, set_holding, take_all_polled};
use crate::{Error, Fence, Held, IntoName, Moment, Ran, Result, Rule, State, Status, Unlocked};

/// Locks of one store or of several for asynchronous code that are held together or not at all; the
/// sibling of [`tenure::LockAll`](crate::LockAll), in the same words.
///
/// In which order they are taken, why nobody waits in a circle, and what becomes of those that are
/// held while others are waited for is said there.
///
/// ```
/// # use tenure_core::{Result, aio::{AsyncHandle, Lock, LockAll}};
/// # async fn demo<F: AsyncHandle, G: AsyncHandle>(files: F, memory: G) -> Result<()> {
/// let transfer = LockAll::new(&files, ["account 7", "account 12"]).acquire().await?;
/// transfer.release().await?;
///
/// let both = LockAll::of((Lock::new(&files, "ledger").label("audit"), Lock::new(&memory, "cache")));
/// let held = both.try_acquire().await?;
/// let (ledger, cache) = held.members();
/// # Ok(())
/// # }
/// ```
///
/// What is not held cannot be released:
///
/// ```compile_fail,E0599
/// # use tenure_core::aio::{AsyncHandle, LockAll};
/// # async fn demo<B: AsyncHandle>(store: B) {
/// LockAll::new(&store, ["a", "b"]).release().await;
/// # }
/// ```
#[must_use = "locks do nothing until they are acquired, and held locks are released when they are dropped"]
pub struct LockAll<M: Members, S: State = Unlocked> {
    data: S::All<Awaits, M>,
}

/// Locks that can be taken together by [`LockAll`]: a tuple of one to eight [`Lock`]s of any stores, or
/// a `Vec` of locks of one type.
///
/// While they are held, they are the same tuple of `Lock<_, Held>` or `Vec` of `Lock<_, Held>`.
pub trait Members: Group<Awaits> {}

impl<M: Group<Awaits>> Members for M {}

impl<B: AsyncHandle> LockAll<Vec<Lock<B>>> {
    /// Locks of one store, without options; see [`of`](LockAll::of) for locks with options.
    ///
    /// Speaks to nobody. A name that no lock can have is reported by the first acquire, and so is a
    /// name that is given twice.
    pub fn new<T, N>(store: T, names: N) -> Self
    where
        T: AsyncBackend<Handle = B>,
        N: IntoIterator<Item: IntoName>,
    {
        Self::of(names.into_iter().map(|name| Lock::new(&store, name)).collect())
    }
}

/// Acquiring.
impl<M: Members> LockAll<M> {
    /// Locks of any stores, with the options that they have: a tuple of up to eight, or a `Vec`.
    pub fn of(members: M) -> Self {
        Self { data: members }
    }

    /// Gets all locks if all are free, without waiting; otherwise none.
    ///
    /// # Errors
    ///
    /// As [`tenure::LockAll::try_acquire`](crate::LockAll::try_acquire), naming the lock that could not
    /// be had.
    ///
    /// # Cancel safety
    ///
    /// Dropped at any point, it leaves nothing behind: what was taken is released in the background,
    /// in reverse, and so is a grant that was under way.
    #[track_caller]
    pub fn try_acquire(&self) -> impl Future<Output = Result<LockAll<M, Held>>> + Send + use<'_, M> {
        self.take(Patience::None, Location::caller())
    }

    /// Waits for all locks as long as it takes.
    ///
    /// # Errors
    ///
    /// As [`tenure::LockAll::acquire`](crate::LockAll::acquire).
    ///
    /// # Cancel safety
    ///
    /// As [`try_acquire`](Self::try_acquire). A new call stands at the end of the lines.
    #[track_caller]
    pub fn acquire(&self) -> impl Future<Output = Result<LockAll<M, Held>>> + Send + use<'_, M> {
        self.take(Patience::Endless, Location::caller())
    }

    /// Waits for all locks together at most `limit`, counted from the call. Asks for each at least
    /// once, if those before it were free.
    ///
    /// # Errors
    ///
    /// `TimedOut`, naming the lock that was not free at the end. Otherwise as
    /// [`acquire`](Self::acquire).
    ///
    /// # Cancel safety
    ///
    /// As [`acquire`](Self::acquire).
    #[track_caller]
    pub fn acquire_for(
        &self,
        limit: Duration,
    ) -> impl Future<Output = Result<LockAll<M, Held>>> + Send + use<'_, M> {
        self.take(Patience::Until(self.data.now() + limit), Location::caller())
    }

    /// Waits for all locks until `deadline`, an [`Instant`](std::time::Instant) or a [`Moment`].
    ///
    /// # Errors
    ///
    /// As [`acquire_for`](Self::acquire_for).
    ///
    /// # Cancel safety
    ///
    /// As [`acquire`](Self::acquire).
    #[track_caller]
    pub fn acquire_until<D: Into<Moment>>(
        &self,
        deadline: D,
    ) -> impl Future<Output = Result<LockAll<M, Held>>> + Send + use<'_, M, D> {
        self.take(Patience::Until(deadline.into()), Location::caller())
    }

    /// Waits for all locks, runs `work` with them, and releases them, also when `work` panics.
    ///
    /// ```
    /// # use tenure_core::{Result, aio::{AsyncHandle, LockAll}};
    /// # async fn demo<B: AsyncHandle>(store: B) -> Result<()> {
    /// let sum = LockAll::new(&store, ["ledger", "stock"]).run(async |held| 2 + 2).await?.kept()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`acquire`](Self::acquire); `work` was not run then. That a lock was lost meanwhile is told
    /// by [`Ran`].
    ///
    /// # Cancel safety
    ///
    /// Dropped at any point, it drops `work` where it stands, and releases the locks in the
    /// background, in reverse.
    #[track_caller]
    pub fn run<T, F>(&self, work: F) -> impl Future<Output = Result<Ran<T>>>
    where
        F: AsyncFnOnce(&LockAll<M, Held>) -> T,
    {
        let acquire = self.take(Patience::Endless, Location::caller());
        async move {
            let held = acquire.await?;
            let value = work(&held).await;
            Ok(Ran::new(value, held.release().await))
        }
    }

    async fn take(&self, patience: Patience, place: &'static Location<'static>) -> Result<LockAll<M, Held>> {
        Ok(LockAll { data: take_all_polled(&self.data, patience, place).await? })
    }
}

set_holding!(LockAll, Members, Lock, AsyncHandle);

/// Waiting for a loss, renewing, releasing.
impl<M: Members> LockAll<M, Held> {
    /// Waits until the first of the locks is lost, and tells which and why in an error of kind `Lost`;
    /// learns of a loss no later than at the lock's deadline.
    ///
    /// # Cancel safety
    ///
    /// Can be dropped and called again; a loss is not missed.
    pub async fn lost(&self) -> Error {
        self.data.lost().await
    }

    /// Runs `work` as long as all locks are held: ends with its result, or with an error as soon as one
    /// of them is lost, dropping `work` where it stands.
    ///
    /// What must not be done without the locks should still compare [`fences`](Self::fences) where it
    /// takes effect: a request that `work` had sent is not called back.
    ///
    /// # Errors
    ///
    /// `Lost`, naming the lock that was lost before `work` was done.
    ///
    /// # Cancel safety
    ///
    /// Dropping it drops `work`; the locks stay held.
    pub async fn guarded<F: Future>(&self, work: F) -> Result<F::Output> {
        let (mut work, mut lost) = (pin!(work), pin!(self.data.lost()));
        poll_fn(|cx| match lost.as_mut().poll(cx) {
            Poll::Ready(error) => Poll::Ready(Err(error)),
            Poll::Pending => work.as_mut().poll(cx).map(Ok),
        })
        .await
    }

    /// Renews the lifetime of each from now on, as [`Lock::renew`] does, also if one before it cannot
    /// be renewed.
    ///
    /// # Errors
    ///
    /// The first error in the order in which the locks were given, naming the lock: `Lost` or
    /// `Unavailable`, as for one lock.
    ///
    /// # Cancel safety
    ///
    /// Dropped half-way, some are renewed and some are not; the one under way counts as a renewal that
    /// went unanswered.
    pub async fn renew(&self) -> Result<()> {
        let mut answer = Ok(());
        for member in self.members().view() {
            answer = answer.and(member.renew().await);
        }
        answer
    }

    /// Releases all, from the one that was taken last to the first, also if one of them cannot be.
    /// Dropping the set does the same in the background, but cannot tell.
    ///
    /// # Errors
    ///
    /// The first error, naming the lock: `Lost` if it was lost before, `Unavailable` if its store does
    /// not answer, as for [one lock](Lock::release).
    ///
    /// # Cancel safety
    ///
    /// Dropped at any point, the releases go on in the background.
    pub async fn release(self) -> Result<()> {
        let mut answer = Ok(());
        for member in self.data.unwind() {
            answer = answer.and(member.release().await);
        }
        answer
    }
}
