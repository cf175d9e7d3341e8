//! Databases for the tests.

use std::fmt::Debug;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tenure_core::{Error, Result};
use tenure_db::{Builder, Db};
use tenure_servers::{self as servers, MariaDb, Outcome, Postgres, Stop};

/// How long an answer may take.
pub(crate) const LIMIT: Duration = Duration::from_millis(1000);

/// How long anything may take on a busy machine.
pub(crate) const SOON: Duration = Duration::from_secs(20);

pub(crate) fn builder(url: &str) -> Builder {
    Db::builder(url).connect_timeout(LIMIT * 3).io_timeout(LIMIT)
}

pub(crate) fn open(url: &str) -> Result<Db> {
    builder(url).connect()
}

/// A database of each kind, with the words for what all have.
pub(crate) enum Database {
    Sqlite(TempDir),
    Postgres(Postgres),
    MariaDb(MariaDb),
}

impl Database {
    /// One of each kind.
    pub(crate) fn all() -> Outcome<Vec<Self>> {
        Ok(vec![Self::sqlite()?, Self::Postgres(servers::postgres()?), Self::MariaDb(servers::mariadb()?)])
    }

    pub(crate) fn sqlite() -> Outcome<Self> {
        Ok(Self::Sqlite(tempfile::tempdir()?))
    }

    pub(crate) fn url(&self) -> String {
        match self {
            Self::Sqlite(folder) => format!("sqlite:{}", folder.path().join("app.db").display()),
            Self::Postgres(server) => server.url(),
            Self::MariaDb(server) => server.url(),
        }
    }

    /// Carries out statements on another connection.
    pub(crate) fn sql(&self, statements: &str) -> Outcome<String> {
        match self {
            Self::Sqlite(_) => {
                use diesel::Connection;
                use diesel::connection::SimpleConnection;
                let path = self.url().trim_start_matches("sqlite:").to_owned();
                let failed = |error: &dyn Debug| Stop::failed(format!("{error:?}"));
                let mut link = diesel::SqliteConnection::establish(&path).map_err(|error| failed(&error))?;
                link.batch_execute("PRAGMA busy_timeout = 5000").map_err(|error| failed(&error))?;
                link.batch_execute(statements).map_err(|error| failed(&error))?;
                Ok(String::new())
            }
            Self::Postgres(server) => Ok(server.sql(statements)?),
            Self::MariaDb(server) => Ok(server.sql(statements)?),
        }
    }
}

/// An error that came within the time limits and is no contention.
pub(crate) fn unavailable<T: Debug>(what: impl FnOnce() -> Result<T>) -> Error {
    let began = Instant::now();
    let error = what().expect_err("the database does not answer");
    assert!(error.is_unavailable(), "{error:?}");
    assert!(began.elapsed() < LIMIT * 8, "it took {:?}: {error}", began.elapsed());
    error
}

/// Waits until something is so.
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < SOON, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
