//! Connections to a MariaDB or MySQL server.

use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::{Connection, ConnectionError, MysqlConnection, QueryableByName, RunQueryDsl, sql_query};
use tenure_core::{Error, Result};

use super::Link;
use crate::dialect::Kind;
use crate::failure;
use crate::pool::Open;

/// Opens connections to a server.
#[derive(Clone)]
pub(crate) struct MySql {
    url: String,
    limit: Duration,
    patient: bool,
}

/// What a server says of itself.
#[derive(QueryableByName)]
pub(crate) struct Server {
    #[diesel(sql_type = diesel::sql_types::Text)]
    version: String,
    #[diesel(sql_type = diesel::sql_types::Text)]
    logging: String,
}

pub(crate) const ABOUT: &str = "SELECT VERSION() AS version, CONCAT(@@log_bin, @@binlog_format) AS logging";

impl Server {
    /// Which of the two it is.
    pub(crate) fn kind(&self) -> Kind {
        if self.version.contains("MariaDB") { Kind::MariaDb } else { Kind::MySql }
    }
}

/// What makes a session independent of what the server's defaults are. A statement takes no longer than
/// `limit` (zero if as long as it likes), and waits for others no longer than `patience`.
pub(crate) fn session(server: &Server, limit: Duration, patience: Duration) -> [String; 2] {
    let seconds = patience.as_secs().max(1);
    // Such a log can only repeat statements that see what was there when they began.
    let isolation = if server.logging == "1STATEMENT" { "REPEATABLE READ" } else { "READ COMMITTED" };
    let limit = match server.kind() {
        Kind::MariaDb => format!("max_statement_time = {}", limit.as_secs_f64()),
        // Here it is for SELECT alone.
        _ => format!("max_execution_time = {}", limit.as_millis()),
    };
    [
        format!("SET SESSION TRANSACTION ISOLATION LEVEL {isolation}"),
        format!(
            "SET autocommit = 1, time_zone = '+00:00', sql_mode = 'STRICT_ALL_TABLES', lc_messages = 'en_US', \
             innodb_lock_wait_timeout = {seconds}, lock_wait_timeout = {seconds}, {limit}"
        ),
    ]
}

impl MySql {
    /// A server, whose statements may take this long.
    pub(crate) fn new(url: &str, limit: Duration) -> Self {
        Self { url: url.into(), limit, patient: false }
    }

    /// The same for statements that wait.
    pub(crate) fn patient(&self) -> Self {
        Self { patient: true, ..self.clone() }
    }

    /// Which of the two it is, by what it says of itself.
    ///
    /// # Errors
    ///
    /// `Unavailable` if it does not answer.
    pub(crate) fn kind(&self) -> Result<Kind> {
        Ok(self.connect()?.1.kind())
    }

    fn connect(&self) -> Result<(MysqlConnection, Server)> {
        let mut link = MysqlConnection::establish(&self.url).map_err(refused)?;
        let server = self.settle(&mut link).map_err(|error| failure::error(&error))?;
        Ok((link, server))
    }

    /// Makes the session independent of what the server's defaults are.
    fn settle(&self, link: &mut MysqlConnection) -> diesel::QueryResult<Server> {
        let server: Server = sql_query(ABOUT).get_result(link)?;
        let limit = if self.patient { Duration::ZERO } else { self.limit };
        for statement in session(&server, limit, self.limit) {
            link.batch_execute(&statement)?;
        }
        Ok(server)
    }
}

impl Open for MySql {
    fn open(&self) -> Result<Box<dyn Link + Send>> {
        Ok(Box::new(self.connect()?.0))
    }

    fn is_remote(&self) -> bool {
        true
    }
}

pub(crate) fn refused(error: ConnectionError) -> Error {
    let said = error.to_string();
    if let ConnectionError::InvalidConnectionUrl(_) = error {
        return Error::misconfigured(
            "diesel cannot read the URL; write mysql://[user[:password]@]host[:port]/database, and % with two \
             hexadecimal digits for what means something there",
        );
    }
    if ["Access denied", "Unknown database", "authentication"].iter().any(|words| said.contains(words)) {
        return Error::misconfigured("the server knows no such user, password or database; see the URL")
            .with_source(said);
    }
    let remedy = "no connection to the server; see whether it runs, and whether the URL names it";
    Error::unavailable(remedy).with_source(said).settled()
}
