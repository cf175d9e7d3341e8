//! Opening a store for tasks.

use tenure_core::{Error, Result};

use super::threads::{Threads, in_pool};
use super::{AsyncDb, Way};
use crate::config::Builder;
#[cfg(feature = "async")]
use crate::config::Plan;
use crate::url::Place;

impl Builder {
    /// Opens the store for asynchronous code.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect). `Misconfigured` outside of a tokio runtime, except for SQLite; and for
    /// other databases in a build without the feature `async`.
    ///
    /// # Cancel safety
    ///
    /// Dropped half-way, it has opened nothing that stays open.
    pub async fn connect_async(self) -> Result<AsyncDb> {
        let label = self.label()?;
        self.open_async().await.map_err(|error| error.at(&label))
    }

    async fn open_async(self) -> Result<AsyncDb> {
        let plan = self.plan()?;
        match &plan.parsed.place {
            #[cfg(feature = "sqlite")]
            Place::Sqlite(_) => self.open_threads().await,
            #[cfg(feature = "async")]
            _ => {
                let runtime = tokio::runtime::Handle::try_current().map_err(|_| {
                    Error::misconfigured(
                        "an asynchronous store on PostgreSQL, MariaDB or MySQL is connected from within a tokio \
                         runtime",
                    )
                })?;
                match servers::open(&self, plan, runtime).await? {
                    Some(server) => Ok(AsyncDb(Way::Server(server))),
                    None => self.open_threads().await,
                }
            }
            #[cfg(not(feature = "async"))]
            _ => Err(Error::misconfigured(
                "this build speaks to this database from threads alone; add the feature `async` of tenure-db, which \
                 is `postgres-async` or `mysql-async` of tenure",
            )),
        }
    }

    async fn open_threads(self) -> Result<AsyncDb> {
        Ok(AsyncDb(Way::Threads(Threads::new(in_pool(move || self.connect()).await?))))
    }
}

#[cfg(feature = "async")]
mod servers {
    use std::sync::Arc;

    use tokio::runtime::Handle;
    use tokio::time::timeout;

    use super::{Builder, Error, Place, Plan, Result};
    use crate::aio::open::Opener;
    use crate::aio::pool::{Limits, Pool};
    use crate::aio::server::{Parts, Server};
    use crate::dialect::{Dialect, Kind};
    use crate::wake::{self, Wake};

    /// Opens a server; nothing where threads have to speak to it.
    pub(super) async fn open(builder: &Builder, plan: Plan, runtime: Handle) -> Result<Option<Server>> {
        let limit = builder.connect_timeout;
        // In a task of the runtime, whatever polls this.
        let (own, place) = (builder.clone(), plan.parsed.place.clone());
        let finding = runtime.spawn(async move {
            timeout(limit, find(&own, &place)).await.unwrap_or_else(|_| {
                let said = format!("no connection within {limit:?}; see whether the database answers");
                Err(Error::unavailable(said).settled())
            })
        });
        let Some((kind, opener)) = finding.await.map_err(|_| crate::aio::pool::ended())?? else {
            return Ok(None);
        };
        let Plan { parsed, table, site } = plan;
        let wake: Arc<dyn Wake> = match &parsed.place {
            #[cfg(feature = "postgres")]
            Place::Postgres(url) => {
                Arc::new(wake::listen::Listen::new(url, &wake::channel(&table), limit, site.clone()))
            }
            #[cfg(feature = "mysql")]
            Place::MySql(url) => {
                let threads = crate::link::mysql::MySql::new(url, builder.io_timeout);
                Arc::new(wake::room::Rooms::new(&threads, table.full(), site.clone()))
            }
            #[allow(unreachable_patterns, reason = "all kinds may be there")]
            _ => return Ok(None),
        };
        let limits =
            Limits { size: builder.pool_size, connect_timeout: limit, io_timeout: builder.io_timeout };
        let pool = Pool::new(runtime, opener, limits);
        let dialect = Dialect::for_tasks(kind, &table);
        let guard = builder.guard || parsed.guard;
        let server = Server::new(Parts { site, pool, dialect, table, wake, guard });
        match parsed.migrate.unwrap_or(builder.migrate) {
            true => server.migrate().await?,
            false => server.check().await?,
        }
        Ok(Some(server))
    }

    /// Which kind of server it is, and how connections to it are made; nothing behind a pooler.
    async fn find(builder: &Builder, place: &Place) -> Result<Option<(Kind, Opener)>> {
        use crate::aio::open;
        match place {
            #[cfg(feature = "postgres")]
            Place::Postgres(url) => {
                let server = open::postgres::Postgres::new(url, builder.connect_timeout, builder.io_timeout);
                let found = server.connect().await?;
                Ok(found.map(|_| (Kind::Postgres, Opener::Postgres(server))))
            }
            #[cfg(feature = "mysql")]
            Place::MySql(url) => {
                let server = open::mysql::MySql::new(url, builder.io_timeout);
                let (_, kind) = server.connect().await?;
                let kind = if builder.plain { Kind::MySql } else { kind };
                Ok(Some((kind, Opener::MySql(server))))
            }
            #[allow(unreachable_patterns, reason = "all kinds may be there")]
            _ => Err(Error::misconfigured(
                "this build has no such database; build tenure with the feature sqlite, postgres or mysql",
            )),
        }
    }
}
