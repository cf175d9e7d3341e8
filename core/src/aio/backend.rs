//! The trait of those who write a store that is spoken to by futures.

use std::future::Future;

use super::Task;
use crate::{Advice, Attempt, Claim, Release, Renewal, Result, Site, Watch};

/// A store of locks for asynchronous code; the sibling of [`Backend`](crate::Backend), over the same
/// claims, grants and answers.
///
/// A store can be both, as stores in files and in memory are. Its two faces then share one
/// [`Site`], so that tasks and threads stand in one line, and have one type of grant.
///
/// # Implementors
///
/// What [`Backend`](crate::Backend) asks of its methods is asked here too. And:
///
/// * **A future may be dropped at any point.** A request that was not sent by then is never sent,
///   or is sent before any later request with the same claim; its answer is never taken for that
///   of another. So whatever a dropped `try_acquire` did is undone by the
///   [`abandon`](Self::abandon) that follows it, and a dropped `renew` that shortened a lease does
///   not overtake a later one. A connection whose command was dropped half-way is thrown away.
/// * A future does not block its thread.
/// * Futures are `Send`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a lock store for asynchronous code",
    label = "not an `AsyncBackend`",
    note = "pass a store such as `Files`, `LocMem` or `aio::AnyBackend`, by value, by `&`, or in an `Arc` or \
            `Box`; a store that blocks is for `tenure::Lock`"
)]
pub trait AsyncBackend: Send + Sync {
    /// What the store keeps of a grant; see [`Backend::Grant`](crate::Backend::Grant).
    type Grant: Send + Sync + 'static;

    /// The owned form of this store; `Self` for the store itself.
    type Handle: AsyncBackend<Grant = Self::Grant, Handle = Self::Handle> + Clone + 'static;

    /// A copy to be kept in a lock.
    fn handle(&self) -> Self::Handle;

    /// Identity, settings and waiting rooms of the store; one per connection, shared by its clones
    /// and by its blocking sibling.
    fn site(&self) -> &Site;

    /// Asks once for the lock; see [`Backend::try_acquire`](crate::Backend::try_acquire).
    ///
    /// # Errors
    ///
    /// `Unavailable`, `Quarantined`, `Misconfigured` or `InvalidName`; never `Contended`.
    fn try_acquire(&self, claim: &Claim) -> impl Future<Output = Result<Attempt<Self::Grant>>> + Send;

    /// Sets the remaining life of a grant; see [`Backend::renew`](crate::Backend::renew).
    ///
    /// # Errors
    ///
    /// `Lost` if the store no longer has the grant for this owner; `Unavailable` if it is not known.
    fn renew(&self, due: Renewal<'_, Self::Grant>) -> impl Future<Output = Result<()>> + Send;

    /// Ends a grant; see [`Backend::release`](crate::Backend::release).
    ///
    /// # Errors
    ///
    /// `Lost` if the store no longer has the grant for this owner; `Unavailable` if it is not known.
    fn release(&self, end: Release<'_, Self::Grant>) -> impl Future<Output = Result<()>> + Send;

    /// Carries a task to its end in the background: renewals, and the release of what was dropped.
    ///
    /// Called from threads that belong to no runtime, and from `Drop`. It must not block, and must
    /// not panic where there is no runtime: a store that needs one keeps a handle of it from when it
    /// connected. A task that is dropped because the runtime has ended, before or after it was first
    /// polled, is no harm beyond a lock that stays taken until its lease ends: a renewal counts as
    /// unanswered then, and is tried again at the pace of those.
    fn spawn(&self, task: Task);

    /// Undoes whatever an acquire with an unknown outcome, or a watch, may have left behind. Called
    /// once, as a task, and not tried again.
    fn abandon(&self, claim: &Claim) -> impl Future<Output = ()> + Send {
        async move {
            if let Ok(Attempt::Granted(granted)) = self.try_acquire(claim).await {
                let _ = self.release(Release::new(claim, &granted.grant, None)).await;
            }
        }
    }

    /// Arranges for [`Site::notify`] or [`Site::deliver`] to be called when the lock may be free;
    /// see [`Backend::watch`](crate::Backend::watch).
    ///
    /// # Errors
    ///
    /// `Unavailable` if the store did not answer; core then falls back to asking.
    fn watch(&self, claim: &Claim) -> impl Future<Output = Result<Watch>> + Send {
        let _ = claim;
        async { Ok(Watch::none()) }
    }

    /// Whether other processes are known to wait for this lock; see
    /// [`Backend::is_awaited`](crate::Backend::is_awaited).
    fn is_awaited(&self, claim: &Claim) -> impl Future<Output = bool> + Send {
        let _ = claim;
        async { false }
    }

    /// Renews many grants, in one round trip where the store can. Answers in the same order.
    fn renew_many(&self, due: &[Renewal<'_, Self::Grant>]) -> impl Future<Output = Vec<Result<()>>> + Send {
        async move {
            let mut answers = Vec::with_capacity(due.len());
            for due in due {
                answers.push(self.renew(*due).await);
            }
            answers
        }
    }

    /// What is risky about this store as it is set up; see
    /// [`Backend::diagnose`](crate::Backend::diagnose).
    fn diagnose(&self) -> impl Future<Output = Vec<Advice>> + Send {
        async { Vec::new() }
    }
}

/// A store in its owned form, as an [`aio::Lock`](super::Lock) keeps it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be kept in an asynchronous lock",
    label = "not an owned `AsyncBackend`",
    note = "name the store's own type here, such as `aio::Lock<Files>`, not a reference or an `Arc` of it; \
            `aio::Lock::new` accepts those and stores the owned form"
)]
pub trait AsyncHandle: AsyncBackend<Handle = Self> + Clone + 'static {}

// So that the message of the trait is shown, and not the one of its parts.
#[diagnostic::do_not_recommend]
impl<B: AsyncBackend<Handle = B> + Clone + 'static> AsyncHandle for B {}
