//! Opening a store of locks that belong to connections.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tenure_core::{Error, Result, Settings, Site};

use super::says::Says;
use super::{Inner, Sessions};
use crate::dialect::Kind;
use crate::pool::{Open, Pool};
use crate::url::{self, Place};

/// How a store of [`Sessions`] is to be opened; made by [`Sessions::builder`].
#[derive(Clone)]
pub struct SessionsBuilder {
    url: Box<str>,
    settings: Settings,
    connect_timeout: Duration,
    io_timeout: Duration,
    hashed: bool,
    #[cfg_attr(not(feature = "mysql"), expect(dead_code, reason = "it is for servers of MySQL"))]
    plain: bool,
}

impl SessionsBuilder {
    pub(super) fn new(url: &str) -> Self {
        Self {
            url: url.into(),
            settings: Settings::default(),
            connect_timeout: Duration::from_secs(2),
            io_timeout: Duration::from_secs(2),
            hashed: false,
            plain: false,
        }
    }

    /// Sets the defaults of the store's locks.
    #[must_use]
    pub fn settings(self, settings: Settings) -> Self {
        Self { settings, ..self }
    }

    /// Sets how long making a connection may take, 2 s by default.
    #[must_use]
    pub fn connect_timeout(self, limit: Duration) -> Self {
        Self { connect_timeout: limit, ..self }
    }

    /// Sets how long an answer may take, 2 s by default, for whatever does not wait for a lock.
    #[must_use]
    pub fn io_timeout(self, limit: Duration) -> Self {
        Self { io_timeout: limit, ..self }
    }

    /// Tells locks apart by the hash of their names alone, without a table that knows the names. Two names
    /// whose first 64 bits of SHA-256 are the same then exclude each other; of a billion names, two do so with
    /// a chance of one in forty. MariaDB and MySQL have no such table anyway.
    #[must_use]
    pub fn hashed(self) -> Self {
        Self { hashed: true, ..self }
    }

    /// Says what MySQL understands to a MariaDB server too.
    #[doc(hidden)]
    #[must_use]
    pub fn plain_mysql(self) -> Self {
        Self { plain: true, ..self }
    }

    /// Opens the store, and makes its sequence and its table if they are not there.
    ///
    /// # Errors
    ///
    /// `Misconfigured` for a URL that cannot work, a pooler that changes servers between transactions, or a
    /// user that may not make them. `Unavailable` if the database does not answer.
    pub fn connect(self) -> Result<Sessions> {
        let parsed = url::parse(&self.url)?;
        let label = parsed.label.clone();
        self.open(&parsed.place, &label).map_err(|error| error.at(&label))
    }

    /// Opens the store for asynchronous code, in a thread of a pool.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    ///
    /// # Cancel safety
    ///
    /// Dropped half-way, it goes on in the background.
    #[cfg(feature = "async")]
    pub async fn connect_async(self) -> Result<super::AsyncSessions> {
        crate::aio::threads::in_pool(move || self.connect()).await.map(super::AsyncSessions::new)
    }

    fn open(self, place: &Place, label: &str) -> Result<Sessions> {
        let (kind, open) = self.reach(place)?;
        let says = Says::to(kind);
        let pool = Pool::new(open.clone(), 4, self.connect_timeout, self.io_timeout);
        if pool.ask(|link| Ok(link.run(says.there)))?.value.is_err() {
            for statement in says.create {
                pool.ask(|link| link.run(statement))?;
            }
        }
        let millis = self.io_timeout.as_millis();
        let hurry = match kind {
            Kind::Postgres | Kind::Sqlite => format!("SET statement_timeout = {millis}"),
            Kind::MariaDb => format!("SET max_statement_time = {}", self.io_timeout.as_secs_f64()),
            Kind::MySql => format!("SET max_execution_time = {millis}"),
        };
        let inner = Arc::new(Inner {
            site: Site::new(label, self.settings),
            kind,
            says,
            open,
            hurry: hurry.into(),
            pool,
            hashed: self.hashed,
            connect_timeout: self.connect_timeout,
            io_timeout: self.io_timeout,
            idle: Mutex::default(),
            held: Mutex::default(),
            queue: super::queue::Queue::default(),
        });
        // What is wrong shows now.
        let session = inner.dial()?;
        inner.give_back(session);
        Ok(Sessions(inner))
    }

    fn reach(&self, place: &Place) -> Result<(Kind, Arc<dyn Open>)> {
        match place {
            #[cfg(feature = "postgres")]
            Place::Postgres(url) => {
                let server = crate::link::postgres::Postgres::new(url, self.connect_timeout, self.io_timeout);
                Ok((Kind::Postgres, Arc::new(server)))
            }
            #[cfg(feature = "mysql")]
            Place::MySql(url) => {
                let server = crate::link::mysql::MySql::new(url, self.io_timeout);
                let kind = if self.plain { Kind::MySql } else { server.kind()? };
                Ok((kind, Arc::new(server)))
            }
            Place::Sqlite(_) => Err(Error::misconfigured(
                "SQLite has no locks that belong to a connection; use locks in rows",
            )),
            #[allow(unreachable_patterns, reason = "all kinds may be there")]
            _ => Err(Error::misconfigured(
                "this build has no such database; build tenure with the feature postgres or mysql",
            )),
        }
    }
}

impl fmt::Debug for SessionsBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A URL may hold a password.
        let store = url::parse(&self.url).map(|parsed| parsed.label).unwrap_or_default();
        f.debug_struct("SessionsBuilder").field("store", &store).finish_non_exhaustive()
    }
}
