//! Connections of the `redis` crate that `r2d2_redis` was made for, which is of 2021.

use std::net::{Ipv4Addr, TcpListener, TcpStream};

use r2d2_redis::redis::{Client, Connection, ConnectionAddr, ConnectionInfo, RedisError, Value};

use crate::pool::{Broken, Wire};
use crate::resp::{Packed, Reply};

impl Wire for Connection {
    fn exchange(&mut self, packed: &Packed) -> Result<Vec<Reply>, Broken> {
        self.send_packed_command(packed.bytes()).map_err(broken)?;
        (0..packed.commands()).map(|_| answer(self)).collect()
    }
}

/// The next answer.
pub(super) fn answer(connection: &mut Connection) -> Result<Reply, Broken> {
    match connection.recv_response() {
        Ok(value) => Ok(reply(value)),
        Err(error) => match error.code() {
            Some(code) => Ok(Reply::refusal(code, error.detail())),
            None => Err(broken(error)),
        },
    }
}

pub(super) fn broken(error: RedisError) -> Broken {
    Broken { closed: !error.is_timeout(), source: Box::new(error) }
}

/// A connection that is known to be closed.
///
/// A pool asks its connections whether they are open, and this kind says yes after an answer that did
/// not come. The next question would be given that answer. There is no way to close it from outside, so
/// it is exchanged for one that is closed already: one to ourselves.
pub(super) fn closed() -> Option<Connection> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).ok()?;
    let address = listener.local_addr().ok()?;
    let info = ConnectionInfo {
        addr: Box::new(ConnectionAddr::Tcp(address.ip().to_string(), address.port())),
        db: 0,
        username: None,
        passwd: None,
    };
    // Without a password and with database 0 it is made without a word.
    let mut connection = Client::open(info).ok()?.get_connection().ok()?;
    let accepted: TcpStream = listener.accept().ok()?.0;
    drop((accepted, listener));
    let _ = connection.recv_response();
    (!r2d2_redis::redis::ConnectionLike::is_open(&connection)).then_some(connection)
}

fn reply(value: Value) -> Reply {
    match value {
        Value::Nil => Reply::Nil,
        Value::Int(number) => Reply::Int(number),
        Value::Data(text) => Reply::Text(text),
        Value::Status(text) => Reply::Text(text.into_bytes()),
        Value::Okay => Reply::Text(b"OK".to_vec()),
        Value::Bulk(items) => Reply::List(items.into_iter().map(reply).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_connection_says_so() {
        let connection = closed().expect("there is a loopback interface");
        assert!(!r2d2_redis::redis::ConnectionLike::is_open(&connection));
    }
}
