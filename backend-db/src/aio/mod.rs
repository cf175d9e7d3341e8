//! The store for tasks.

mod lines;
#[cfg(feature = "async")]
mod link;
#[cfg(feature = "async")]
mod open;
mod opening;
#[cfg(feature = "async")]
mod pool;
#[cfg(feature = "async")]
mod request;
#[cfg(feature = "async")]
mod server;
pub(crate) mod threads;

use std::fmt;
use std::time::Duration;

use tenure_core::aio::{self, AsyncBackend, AsyncInspect, AsyncRestore, Task};
use tenure_core::{
    Advice, Attempt, Breaking, Claim, Granted, Holder, Name, Permits, Release, Renewal, Result, SharedLocks,
    Site, Watch,
};

#[cfg(feature = "async")]
use server::Server;
use threads::Threads;

/// Locks in a database, for asynchronous code.
///
/// A cheap handle; clones share connections and everything else. It says the same statements as
/// [`Db`](crate::Db), so threads and tasks exclude each other.
///
/// To PostgreSQL, MariaDB and MySQL (feature `async`) it speaks through `diesel-async`, in the tokio runtime
/// that it was connected in; its futures can be polled by any executor as long as that runtime runs. Behind
/// a pooler that shares its connections to the server among its clients, and for SQLite, a pool of threads
/// works for it, and no runtime is needed.
///
/// The clients for tasks have no TLS, and read neither libpq's environment nor its files: what they need
/// stands in the URL. Options that both clients know may stand there too; waiters of MariaDB and MySQL use
/// connections of the client for threads, with the same URL.
#[derive(Clone)]
pub struct AsyncDb(Way);

#[derive(Clone)]
enum Way {
    Threads(Threads<crate::Db>),
    #[cfg(feature = "async")]
    Server(Server),
}

/// Does the same, whoever does it.
macro_rules! by {
    ($store:expr, $way:ident => $act:expr) => {
        match &$store.0 {
            Way::Threads($way) => $act,
            #[cfg(feature = "async")]
            Way::Server($way) => $act,
        }
    };
}

impl AsyncDb {
    /// Opens the store that a URL names, as [`Db::connect`](crate::Db::connect).
    ///
    /// # Errors
    ///
    /// As [`Builder::connect_async`](crate::Builder::connect_async).
    ///
    /// # Cancel safety
    ///
    /// As [`Builder::connect_async`](crate::Builder::connect_async).
    pub async fn connect(url: &str) -> Result<Self> {
        crate::Db::builder(url).connect_async().await
    }

    /// Makes the tables if they are not there, as [`Db::migrate`](crate::Db::migrate).
    ///
    /// # Errors
    ///
    /// As [`Db::migrate`](crate::Db::migrate).
    ///
    /// # Cancel safety
    ///
    /// Dropped half-way, it goes on in the background.
    pub async fn migrate(&self) -> Result<()> {
        by!(self, way => way.migrate().await)
    }

    /// Forgets the names that nobody has held, and nobody has waited for, for at least this long, as
    /// [`Db::forget_unused`](crate::Db::forget_unused).
    ///
    /// # Errors
    ///
    /// As [`Db::forget_unused`](crate::Db::forget_unused).
    ///
    /// # Cancel safety
    ///
    /// Dropped half-way, some of them may be forgotten.
    pub async fn forget_unused(&self, idle: Duration) -> Result<u64> {
        by!(self, way => way.forget_unused(idle).await)
    }
}

impl AsyncBackend for AsyncDb {
    /// The database has it all under the claim's key and token.
    type Grant = ();
    type Handle = Self;

    fn handle(&self) -> Self {
        self.clone()
    }

    fn site(&self) -> &Site {
        by!(self, way => way.site())
    }

    async fn try_acquire(&self, claim: &Claim) -> Result<Attempt<()>> {
        by!(self, way => way.try_acquire(claim).await)
    }

    async fn renew(&self, due: Renewal<'_, ()>) -> Result<()> {
        by!(self, way => way.renew(due).await)
    }

    async fn release(&self, end: Release<'_, ()>) -> Result<()> {
        by!(self, way => way.release(end).await)
    }

    fn spawn(&self, task: Task) {
        by!(self, way => way.spawn(task));
    }

    async fn abandon(&self, claim: &Claim) {
        by!(self, way => way.abandon(claim).await);
    }

    async fn watch(&self, claim: &Claim) -> Result<Watch> {
        by!(self, way => way.watch(claim).await)
    }

    async fn is_awaited(&self, claim: &Claim) -> bool {
        by!(self, way => way.is_awaited(claim).await)
    }

    async fn renew_many(&self, due: &[Renewal<'_, ()>]) -> Vec<Result<()>> {
        by!(self, way => way.renew_many(due).await)
    }

    async fn diagnose(&self) -> Vec<Advice> {
        by!(self, way => way.diagnose().await)
    }
}

impl AsyncRestore for AsyncDb {
    async fn restore(&self, claim: &Claim) -> Result<Granted<()>> {
        by!(self, way => way.restore(claim).await)
    }
}

impl AsyncInspect for AsyncDb {
    async fn inspect(&self, name: &Name) -> Result<Option<Holder>> {
        by!(self, way => way.inspect(name).await)
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Holder>> {
        by!(self, way => way.list(prefix).await)
    }

    async fn force_release(&self, name: &Name, breaking: Breaking, reason: &str) -> Result<Option<Holder>> {
        by!(self, way => way.force_release(name, breaking, reason).await)
    }
}

impl SharedLocks for AsyncDb {}

impl Permits for AsyncDb {}

impl From<AsyncDb> for aio::AnyBackend {
    fn from(store: AsyncDb) -> Self {
        Self::erase(store).inspect().restore().shared().permits().build()
    }
}

impl fmt::Debug for AsyncDb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncDb").field("store", &self.site().label()).finish_non_exhaustive()
    }
}
