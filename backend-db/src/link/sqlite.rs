//! Connections to a SQLite file.

use std::path::{Path, PathBuf};
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::{Connection, QueryableByName, RunQueryDsl, SqliteConnection, sql_query};
use tenure_core::{Error, Result};

use super::Link;
use crate::failure;
use crate::pool::Open;

/// Opens a file.
pub(crate) struct Sqlite {
    path: PathBuf,
    patience: Duration,
}

#[derive(QueryableByName)]
struct Mode {
    #[diesel(sql_type = diesel::sql_types::Text)]
    journal_mode: String,
}

#[derive(QueryableByName)]
struct Pages {
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    page_count: i64,
}

impl Sqlite {
    /// A file, which is made if it is not there. Opening it waits up to `patience` for others.
    pub(crate) fn new(path: &Path, patience: Duration) -> Self {
        Self { path: path.into(), patience }
    }

    fn connect(&self) -> std::result::Result<SqliteConnection, diesel::result::Error> {
        let closed = |error: diesel::ConnectionError| {
            diesel::result::Error::QueryBuilderError(error.to_string().into())
        };
        let mut link = SqliteConnection::establish(&self.path.to_string_lossy()).map_err(closed)?;
        link.batch_execute(&format!("PRAGMA busy_timeout = {}", self.patience.as_millis()))?;
        let pages: Pages = sql_query("PRAGMA page_count").get_result(&mut link)?;
        let mode = |link: &mut SqliteConnection, question: &str| -> diesel::QueryResult<String> {
            Ok(sql_query(question).get_result::<Mode>(link)?.journal_mode)
        };
        // How an application's own file is written is its own affair.
        let question =
            if pages.page_count == 0 { "PRAGMA journal_mode = WAL" } else { "PRAGMA journal_mode" };
        if mode(&mut link, question)? == "wal" {
            // A grant that a crash of the machine loses is void after the boot anyway.
            link.batch_execute("PRAGMA synchronous = NORMAL")?;
        }
        // From here on we wait for others ourselves.
        link.batch_execute("PRAGMA busy_timeout = 0")?;
        Ok(link)
    }
}

impl Open for Sqlite {
    fn open(&self) -> Result<Box<dyn Link + Send>> {
        match self.connect() {
            Ok(link) => Ok(Box::new(link)),
            Err(error @ diesel::result::Error::QueryBuilderError(_)) => Err(Error::unavailable(format!(
                "{} cannot be opened; see whether its folder is there and may be written",
                self.path.display()
            ))
            .with_source(error.to_string())
            .settled()),
            Err(error) => Err(failure::error(&error)),
        }
    }

    fn is_remote(&self) -> bool {
        false
    }
}
