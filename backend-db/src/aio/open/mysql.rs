//! Connections to a MariaDB or MySQL server.

use std::time::Duration;

use diesel::result::{ConnectionError, Error as DieselError};
use diesel::{QueryResult, sql_query};
use diesel_async::{AsyncConnection, AsyncMysqlConnection, RunQueryDsl, SimpleAsyncConnection};
use tenure_core::{Error, Result};

use crate::dialect::Kind;
use crate::failure;
use crate::link::mysql::{ABOUT, Server, refused as told, session};

/// Opens connections to a server.
pub(crate) struct MySql {
    url: String,
    limit: Duration,
}

impl MySql {
    /// A server, whose statements may take this long.
    pub(crate) fn new(url: &str, limit: Duration) -> Self {
        // Else the client connects, asks for the server's socket on this host, and connects anew through that.
        let (given, option) = (url.contains("prefer_socket="), "prefer_socket=false");
        let between = if url.contains('?') { '&' } else { '?' };
        Self { url: if given { url.into() } else { format!("{url}{between}{option}") }, limit }
    }

    /// A connection, and which of the two it is to.
    ///
    /// # Errors
    ///
    /// As [`Opener::open`](super::Opener::open).
    pub(crate) async fn connect(&self) -> Result<(AsyncMysqlConnection, Kind)> {
        let mut connection = AsyncMysqlConnection::establish(&self.url).await.map_err(refused)?;
        let server = self.settle(&mut connection).await.map_err(|error| failure::error(&error))?;
        Ok((connection, server.kind()))
    }

    /// Makes the session independent of what the server's defaults are.
    async fn settle(&self, connection: &mut AsyncMysqlConnection) -> QueryResult<Server> {
        let server: Server = sql_query(ABOUT).get_result(connection).await?;
        for statement in session(&server, self.limit, self.limit) {
            connection.batch_execute(&statement).await?;
        }
        Ok(server)
    }
}

fn refused(error: ConnectionError) -> Error {
    match error {
        ConnectionError::InvalidConnectionUrl(said) => Error::misconfigured(
            "the client for tasks cannot read the URL; write mysql://[user[:password]@]host[:port]/database, \
             and % with two hexadecimal digits for what means something there; it knows other options than \
             the one for threads",
        )
        .with_source(said),
        ConnectionError::CouldntSetupConfiguration(DieselError::DatabaseError(_, said)) => {
            told(ConnectionError::BadConnection(said.message().to_owned()))
        }
        error => told(error),
    }
}
