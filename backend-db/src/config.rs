//! Opening a store: where the database is, and how long it may take.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tenure_core::{Error, Result, Settings, Site};

use crate::backend::{Db, Parts};
use crate::dialect::{Dialect, Kind};
use crate::link;
use crate::pool::{Open, Pool};
use crate::table::Table;
use crate::url::{self, Parsed, Place};
use crate::wake::{self, Wake};

/// How a store is to be opened; made by [`Db::builder`].
#[derive(Clone)]
pub struct Builder {
    url: Box<str>,
    settings: Settings,
    table: Option<Box<str>>,
    pub(crate) connect_timeout: Duration,
    pub(crate) io_timeout: Duration,
    pub(crate) pool_size: u32,
    pub(crate) migrate: bool,
    pub(crate) guard: bool,
    #[cfg(feature = "mysql")]
    pub(crate) plain: bool,
}

impl Builder {
    pub(crate) fn new(url: &str) -> Self {
        Self {
            url: url.into(),
            settings: Settings::default(),
            table: None,
            connect_timeout: Duration::from_secs(2),
            io_timeout: Duration::from_secs(2),
            pool_size: 8,
            migrate: true,
            guard: false,
            #[cfg(feature = "mysql")]
            plain: false,
        }
    }

    /// Sets the defaults of the store's locks.
    #[must_use]
    pub fn settings(self, settings: Settings) -> Self {
        Self { settings, ..self }
    }

    /// Sets what the table is called, `tenure_lock` by default, with a schema and a dot before it if need
    /// be. All who share the locks must choose the same. The same as `?table=` at the end of the URL.
    ///
    /// Beside it stand one table or two whose names begin with its own.
    #[must_use]
    pub fn table(self, name: impl Into<Box<str>>) -> Self {
        Self { table: Some(name.into()), ..self }
    }

    /// Sets how long making a connection may take, 2 s by default, 10 ms to 60 s.
    #[must_use]
    pub fn connect_timeout(self, limit: Duration) -> Self {
        Self { connect_timeout: limit, ..self }
    }

    /// Sets how long an answer may take, and how long others may be in the way, 2 s by default, 10 ms to
    /// 60 s. After that the connection is thrown away.
    #[must_use]
    pub fn io_timeout(self, limit: Duration) -> Self {
        Self { io_timeout: limit, ..self }
    }

    /// Sets how many connections threads share, 8 by default, 1 to 10 000; more are made while somebody
    /// waits.
    #[must_use]
    pub fn pool_size(self, size: u32) -> Self {
        Self { pool_size: size, ..self }
    }

    /// Sets whether the tables are made when they are not there, which is so by default. The same as
    /// `?migrate=0` at the end of the URL.
    #[must_use]
    pub fn migrate(self, migrate: bool) -> Self {
        Self { migrate, ..self }
    }

    /// Keeps all locks closed for the settings' `max_ttl` after the server was started or crashed, until
    /// every lease from before has ended for sure. All who share the locks must choose it, with the same
    /// `max_ttl`. The same as `?guard=1` at the end of the URL.
    ///
    /// For servers that answer before a grant is on disk: PostgreSQL with `synchronous_commit = off` or
    /// `fsync = off`, MySQL and MariaDB with `innodb_flush_log_at_trx_commit` other than 1. Locks stay
    /// closed after the very first use too; set a `max_ttl` that can be waited for. Until then who asks is
    /// `Quarantined`, with the time that is left; who waits is served after it. PostgreSQL closes them
    /// after a crash and after a fail-over to a replica, but not after an orderly restart; MySQL and MariaDB
    /// after every start. SQLite needs none: a reboot voids what was granted before.
    #[must_use]
    pub fn restart_guard(self) -> Self {
        Self { guard: true, ..self }
    }

    /// Says what MySQL understands to a MariaDB server too, which is one statement more for each grant.
    #[cfg(feature = "mysql")]
    #[doc(hidden)]
    #[must_use]
    pub fn plain_mysql(self) -> Self {
        Self { plain: true, ..self }
    }

    /// Opens the store.
    ///
    /// # Errors
    ///
    /// `Misconfigured` for a URL or a setting that cannot work, tables that are newer than this library or
    /// not there, or a user that may not do what locks need. `Unavailable` if the database does not answer.
    pub fn connect(self) -> Result<Db> {
        let label = self.label()?;
        self.open().map_err(|error| error.at(&label))
    }

    pub(crate) fn label(&self) -> Result<String> {
        Ok(url::parse(&self.url)?.label)
    }

    fn open(self) -> Result<Db> {
        let Plan { parsed, table, site } = self.plan()?;
        let Opened { kind, open, wake } = self.reach(&parsed.place, &table, &site)?;
        let pool = Pool::new(open, self.pool_size, self.connect_timeout, self.io_timeout);
        let dialect = Dialect::new(kind, &table);
        let guard = (self.guard || parsed.guard) && kind != Kind::Sqlite;
        let db = Db::new(Parts { site, pool, dialect, table, wake, guard })?;
        match parsed.migrate.unwrap_or(self.migrate) {
            true => db.migrate()?,
            false => db.check()?,
        }
        Ok(db)
    }

    /// What is to be opened.
    ///
    /// # Errors
    ///
    /// `Misconfigured` if that cannot work.
    pub(crate) fn plan(&self) -> Result<Plan> {
        within("connect_timeout", self.connect_timeout)?;
        within("io_timeout", self.io_timeout)?;
        if !(1..=10_000).contains(&self.pool_size) {
            return Err(Error::misconfigured(format!(
                "pool_size is {}; it must be 1 to 10000",
                self.pool_size
            )));
        }
        let parsed = url::parse(&self.url)?;
        let table = match &self.table {
            Some(name) => Table::new(name)?,
            None => parsed.table.clone().unwrap_or_default(),
        };
        let site = Site::new(&*parsed.label, self.settings.clone());
        Ok(Plan { parsed, table, site })
    }

    #[allow(unused_variables, reason = "not every database needs all of them")]
    fn reach(&self, place: &Place, table: &Table, site: &Site) -> Result<Opened> {
        match place {
            #[cfg(feature = "sqlite")]
            Place::Sqlite(path) => {
                link::local::refuse_network(path)?;
                Ok(Opened {
                    kind: Kind::Sqlite,
                    open: Arc::new(link::sqlite::Sqlite::new(path, self.io_timeout)),
                    wake: Box::new(wake::side_file::SideFile::new(path, site.clone())),
                })
            }
            #[cfg(feature = "postgres")]
            Place::Postgres(url) => {
                let (connect, io) = (self.connect_timeout, self.io_timeout);
                Ok(Opened {
                    kind: Kind::Postgres,
                    open: Arc::new(link::postgres::Postgres::new(url, connect, io)),
                    wake: Box::new(wake::listen::Listen::new(
                        url,
                        &wake::channel(table),
                        connect,
                        site.clone(),
                    )),
                })
            }
            #[cfg(feature = "mysql")]
            Place::MySql(url) => {
                let server = link::mysql::MySql::new(url, self.io_timeout);
                let asked = server.clone();
                let kind = within_time(self.connect_timeout, move || asked.kind())?;
                let kind = if self.plain { Kind::MySql } else { kind };
                let rooms = wake::room::Rooms::new(&server, table.full(), site.clone());
                Ok(Opened { kind, open: Arc::new(server), wake: Box::new(rooms) })
            }
            #[allow(unreachable_patterns, reason = "all kinds may be there")]
            _ => Err(Error::misconfigured(
                "this build has no such database; build tenure with the feature sqlite, postgres or mysql",
            )),
        }
    }
}

/// What is to be opened.
pub(crate) struct Plan {
    pub(crate) parsed: Parsed,
    pub(crate) table: Table,
    pub(crate) site: Site,
}

/// What differs between databases.
struct Opened {
    kind: Kind,
    open: Arc<dyn Open>,
    wake: Box<dyn Wake>,
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A URL may hold a password.
        let store = self.label().unwrap_or_default();
        f.debug_struct("Builder")
            .field("store", &store)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

fn within(setting: &str, value: Duration) -> Result<()> {
    let (least, most) = (Duration::from_millis(10), Duration::from_secs(60));
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(Error::misconfigured(format!("{setting} is {value:?}; it must be {least:?} to {most:?}")))
}

/// What comes of something that may hang, if it comes in time.
#[cfg(feature = "mysql")]
fn within_time<T: Send + 'static>(
    limit: Duration,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let (tell, told) = std::sync::mpsc::channel();
    let thread = std::thread::Builder::new().name("tenure-db-open".into());
    let begun = thread.spawn(move || drop(tell.send(work())));
    begun.map_err(|source| Error::unavailable("no thread to connect with").with_source(source).settled())?;
    let late = || Error::unavailable("the server does not answer; see whether it runs").settled();
    told.recv_timeout(limit).unwrap_or_else(|_| Err(late()))
}
