//! Connections of the `redis` crate.

use std::error::Error as StdError;
use std::time::Duration;

use redis::{Client, Connection, RedisError, Value};

use crate::pool::{Broken, Connect, Wire};
use crate::resp::{Packed, Reply};

/// Makes connections that never wait longer than they may: the crate's own pool manager would.
#[derive(Clone)]
pub(crate) struct Timed {
    pub(crate) client: Client,
    pub(crate) connect_timeout: Duration,
    pub(crate) io_timeout: Duration,
}

impl Timed {
    pub(crate) fn connection(&self) -> Result<Connection, RedisError> {
        // The limit is kept for the address and again for the greeting.
        let connection = self.client.get_connection_with_timeout(self.connect_timeout / 2)?;
        connection.set_read_timeout(Some(self.io_timeout))?;
        connection.set_write_timeout(Some(self.io_timeout))?;
        Ok(connection)
    }
}

/// Which servers have what.
pub(crate) trait Whereabouts: Send + Sync {
    /// The number of the server that has a key; zero if there is one server.
    fn server(&self, key: &[u8]) -> tenure_core::Result<u64> {
        let _ = key;
        Ok(0)
    }

    /// Whether a server has keys still.
    fn serves(&self, server: u64) -> bool {
        let _ = server;
        true
    }

    /// Grows when the server is another, so that connections from before hear nothing any more.
    fn epoch(&self) -> u64 {
        0
    }
}

/// Where connections that listen are made.
pub(crate) trait Place: Whereabouts {
    /// A connection to the server of this number.
    fn connection(&self, server: u64) -> Result<Connection, RedisError>;
}

impl Whereabouts for Timed {}

impl Place for Timed {
    fn connection(&self, _: u64) -> Result<Connection, RedisError> {
        self.connection()
    }
}

impl Connect for Timed {
    type Wire = Connection;

    fn connect(&self) -> Result<Connection, Box<dyn StdError + Send + Sync>> {
        Ok(self.connection()?)
    }
}

impl Wire for Connection {
    fn exchange(&mut self, packed: &Packed) -> Result<Vec<Reply>, Broken> {
        self.send_packed_command(packed.bytes()).map_err(broken)?;
        (0..packed.commands())
            .map(|_| match self.recv_response() {
                Ok(value) => Ok(reply(value)),
                Err(error) => match error.code() {
                    Some(code) => Ok(Reply::refusal(code, error.detail())),
                    None => Err(broken(error)),
                },
            })
            .collect()
    }
}

pub(crate) fn broken(error: RedisError) -> Broken {
    Broken { closed: !error.is_timeout(), source: Box::new(error) }
}

/// An answer in our own words.
pub(crate) fn reply(value: Value) -> Reply {
    match value {
        Value::Nil => Reply::Nil,
        Value::Int(number) => Reply::Int(number),
        Value::BulkString(text) => Reply::Text(text),
        Value::SimpleString(text) => Reply::Text(text.into_bytes()),
        Value::Okay => Reply::Text(b"OK".to_vec()),
        Value::Boolean(truth) => Reply::Int(truth.into()),
        Value::Double(number) => Reply::Text(number.to_string().into_bytes()),
        Value::VerbatimString { text, .. } => Reply::Text(text.into_bytes()),
        Value::Array(items) | Value::Set(items) => Reply::List(items.into_iter().map(reply).collect()),
        Value::Map(pairs) => {
            Reply::List(pairs.into_iter().flat_map(|(key, value)| [reply(key), reply(value)]).collect())
        }
        Value::Push { data, .. } => Reply::List(data.into_iter().map(reply).collect()),
        Value::Attribute { data, .. } => reply(*data),
        Value::ServerError(error) => Reply::refusal(error.code(), error.details()),
        other => Reply::Error(format!("an answer of an unknown kind: {other:?}").into()),
    }
}
