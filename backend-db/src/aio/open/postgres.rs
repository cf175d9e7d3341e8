//! Connections to a PostgreSQL server.

use std::time::Duration;

use diesel::result::{ConnectionError, Error as DieselError};
use diesel::sql_query;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use tenure_core::{Error, Result};

use crate::failure;
use crate::link::postgres::{Setting, refused as told, session_options, url_with};

/// Opens connections to a server.
pub(crate) struct Postgres {
    url: String,
    connect_timeout: Duration,
    io_timeout: Duration,
}

impl Postgres {
    pub(crate) fn new(url: &str, connect_timeout: Duration, io_timeout: Duration) -> Self {
        Self { url: url.into(), connect_timeout, io_timeout }
    }

    /// A connection of its own; none behind a pooler that shares its connections to the server among its
    /// clients. There a statement that is prepared may meet another one of the same name.
    ///
    /// # Errors
    ///
    /// As [`Opener::open`](super::Opener::open).
    pub(crate) async fn connect(&self) -> Result<Option<AsyncPgConnection>> {
        let session = format!("{:032x}", rand::random::<u128>());
        let options = session_options(self.io_timeout, &session);
        let url = url_with(&self.url, Some(&options), self.connect_timeout);
        let mut connection = match AsyncPgConnection::establish(&url).await {
            Err(error) if error.to_string().contains("unsupported startup parameter") => return Ok(None),
            opened => opened.map_err(refused)?,
        };
        let asked = sql_query("SELECT current_setting('tenure.session', true) AS session")
            .get_result::<Setting>(&mut connection)
            .await;
        let found = match asked {
            Ok(found) => found.session,
            // That of somebody else, who had this connection of the pooler before.
            Err(error) if error.to_string().contains("prepared statement") => return Ok(None),
            Err(error) => return Err(failure::error(&error)),
        };
        Ok(found.is_some_and(|found| found == session).then_some(connection))
    }
}

fn refused(error: ConnectionError) -> Error {
    let said = match &error {
        ConnectionError::CouldntSetupConfiguration(DieselError::DatabaseError(_, said)) => {
            said.message().to_owned()
        }
        error => error.to_string(),
    };
    let says = |words: &[&str]| words.iter().any(|words| said.contains(words));
    if says(&["invalid connection string"]) {
        return Error::misconfigured(
            "the client for tasks cannot read the URL; it knows fewer options than libpq, and neither its \
             files nor its variables",
        )
        .with_source(said);
    }
    if says(&["TLS", "tls"]) {
        return Error::misconfigured(
            "tasks speak to PostgreSQL without TLS; leave sslmode out of the URL, or use the store for threads",
        )
        .with_source(said);
    }
    if says(&["password missing"]) {
        return Error::misconfigured("the server asks for a password; write it into the URL")
            .with_source(said);
    }
    told(ConnectionError::BadConnection(said))
}
