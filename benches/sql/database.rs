//! A file and two servers, each of this program's own.

use tempfile::TempDir;
use tenure::Db;
use tenure_conformance::Absent;
use tenure_servers::{MariaDb, Postgres};

use crate::raw::Link;

/// A database, for as long as this is kept.
pub(crate) enum Database {
    Sqlite(TempDir),
    Postgres(Postgres),
    MariaDb(MariaDb),
}

type Start = fn() -> Result<Database, Absent>;

pub(crate) const NAMES: [&str; 3] = ["sqlite", "postgres", "mariadb"];

/// How each is started.
pub(crate) const KINDS: [(&str, Start); 3] = [
    (NAMES[0], || Ok(Database::Sqlite(tempfile::tempdir().unwrap()))),
    (NAMES[1], || tenure_servers::postgres().map(Database::Postgres)),
    (NAMES[2], || tenure_servers::mariadb().map(Database::MariaDb)),
];

impl Database {
    /// What it is, and what it does with what is committed, on which the times depend.
    pub(crate) fn about(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "SQLite: a file in WAL mode, synchronous = NORMAL (no fsync at a commit)",
            Self::Postgres(_) => "PostgreSQL over loopback TCP: fsync = off, synchronous_commit = on",
            Self::MariaDb(_) => {
                "MariaDB over loopback TCP: innodb_flush_method = nosync, innodb_flush_log_at_trx_commit = 1"
            }
        }
    }

    pub(crate) fn url(&self) -> String {
        match self {
            Self::Sqlite(_) => format!("sqlite:{}", self.path()),
            Self::Postgres(server) => server.url(),
            Self::MariaDb(server) => server.url(),
        }
    }

    pub(crate) fn store(&self) -> Db {
        Db::connect(&self.url()).unwrap()
    }

    /// A plain connection with the settings that the store's connections have.
    pub(crate) fn link(&self) -> Link {
        match self {
            Self::Sqlite(_) => Link::sqlite(&self.path()),
            Self::Postgres(server) => Link::postgres(&server.url()),
            Self::MariaDb(server) => Link::mariadb(&server.url()),
        }
    }

    fn path(&self) -> String {
        match self {
            Self::Sqlite(folder) => folder.path().join("app.db").display().to_string(),
            _ => unreachable!("a server has no file"),
        }
    }
}
