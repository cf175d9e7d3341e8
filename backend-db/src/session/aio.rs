//! Locks that belong to a connection, for asynchronous code.

use std::fmt;

use tenure_core::aio::{AnyBackend, AsyncBackend, Task};
use tenure_core::{Advice, Attempt, Claim, Release, Renewal, Result, SessionLocks, Site, Watch};

use super::{SessionGrant, Sessions};
use crate::aio::threads::Threads;

/// [`Sessions`] for asynchronous code, with the same promises; threads and tasks exclude each other.
///
/// Threads of a pool speak to the server, since a connection that is a lock waits in the server itself. No
/// runtime is needed, and any executor can poll its futures.
///
/// ```no_run
/// use tenure_core::aio::Lock;
/// use tenure_db::AsyncSessions;
///
/// # async fn example() -> tenure_core::Result<()> {
/// let sessions = AsyncSessions::connect("postgres://localhost/app").await?;
/// let held = Lock::new(&sessions, "global").session().acquire().await?;
/// # held.release().await
/// # }
/// ```
#[derive(Clone)]
pub struct AsyncSessions(Threads<Sessions>);

impl AsyncSessions {
    /// Opens the store that a URL names, as [`Sessions::connect`].
    ///
    /// # Errors
    ///
    /// As [`SessionsBuilder::connect`](super::SessionsBuilder::connect).
    ///
    /// # Cancel safety
    ///
    /// Dropped half-way, it goes on in the background.
    pub async fn connect(url: &str) -> Result<Self> {
        Sessions::builder(url).connect_async().await
    }

    pub(super) fn new(sessions: Sessions) -> Self {
        Self(Threads::new(sessions))
    }
}

impl AsyncBackend for AsyncSessions {
    type Grant = SessionGrant;
    type Handle = Self;

    fn handle(&self) -> Self {
        self.clone()
    }

    fn site(&self) -> &Site {
        self.0.site()
    }

    async fn try_acquire(&self, claim: &Claim) -> Result<Attempt<SessionGrant>> {
        self.0.try_acquire(claim).await
    }

    async fn renew(&self, due: Renewal<'_, SessionGrant>) -> Result<()> {
        self.0.renew(due).await
    }

    async fn release(&self, end: Release<'_, SessionGrant>) -> Result<()> {
        self.0.release(end).await
    }

    fn spawn(&self, task: Task) {
        self.0.spawn(task);
    }

    async fn abandon(&self, claim: &Claim) {
        self.0.abandon(claim).await;
    }

    async fn watch(&self, claim: &Claim) -> Result<Watch> {
        self.0.watch(claim).await
    }

    async fn renew_many(&self, due: &[Renewal<'_, SessionGrant>]) -> Vec<Result<()>> {
        self.0.renew_many(due).await
    }

    async fn diagnose(&self) -> Vec<Advice> {
        self.0.diagnose().await
    }
}

impl SessionLocks for AsyncSessions {}

impl From<AsyncSessions> for AnyBackend {
    fn from(sessions: AsyncSessions) -> Self {
        Self::erase(sessions).sessions().build()
    }
}

impl fmt::Debug for AsyncSessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncSessions").field("store", &self.site().label()).finish_non_exhaustive()
    }
}
