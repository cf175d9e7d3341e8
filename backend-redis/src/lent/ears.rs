//! Listening on a connection of somebody else's pool.

use std::time::Duration;

use r2d2_redis::redis::Connection;

use super::transport::{Lent, discard};
use super::wire::{answer, broken};
use crate::ear::{ANSWER, Ear, Heard, Hearing, Listen};
use crate::pool::{Broken, Transport};
use crate::resp::{Packed, Reply};
use crate::wire::Whereabouts;

impl Whereabouts for Lent {}

impl Hearing for Lent {
    fn hear(&self, _: u64, channels: &[&[u8]], pause: Duration, listen: Listen<'_>) -> Result<(), Broken> {
        let none = |error| Broken { source: Box::new(error), closed: true };
        let mut connection = self.take().map_err(none)?;
        let listened =
            self.ask(&mut connection, &Packed::command(&[b"CLIENT", b"ID"]), None).and_then(|id| {
                let id = id.first().and_then(Reply::int);
                let id =
                    id.ok_or_else(|| Broken { source: "the server names no client".into(), closed: true })?;
                subscribe(&mut connection, channels, pause)?;
                listen(id, &mut Listening { connection: &mut connection, asked: None })
            });
        // It is subscribed, and of no use to anybody else.
        discard(connection);
        listened
    }

    fn say(&self, _: u64, request: &Packed) {
        drop(self.exchange(request, None));
    }
}

fn subscribe(connection: &mut Connection, channels: &[&[u8]], pause: Duration) -> Result<(), Broken> {
    let all: Vec<&[u8]> = [&[&b"SUBSCRIBE"[..]], channels].concat();
    connection.send_packed_command(Packed::command(&all).bytes()).map_err(broken)?;
    // Messages may come between the answers, so all are told apart when they are read.
    connection.set_read_timeout(Some(pause)).map_err(broken)
}

struct Listening<'c> {
    connection: &'c mut Connection,
    /// How many pauses there were since it was asked whether it is there, if it has said nothing since.
    asked: Option<u32>,
}

impl Ear for Listening<'_> {
    fn next(&mut self) -> Result<Option<Heard>, Broken> {
        loop {
            let said = match answer(self.connection) {
                Ok(said) => said,
                Err(broken) if !broken.closed => {
                    self.asked = self.asked.map(|pauses| pauses + 1);
                    if self.asked.is_some_and(|pauses| pauses >= ANSWER) {
                        return Err(Broken { source: "the server is silent".into(), closed: false });
                    }
                    return Ok(None);
                }
                Err(broken) => return Err(broken),
            };
            self.asked = None;
            if let Reply::Error(why) = said {
                return Err(Broken { source: why.into_string().into(), closed: true });
            }
            if let Some([kind, channel, payload]) = said.list()
                && kind.text() == Some(b"message")
            {
                let channel = channel.text().unwrap_or_default().to_vec();
                return Ok(Some(Heard { channel, payload: payload.clone() }));
            }
        }
    }

    fn ping(&mut self) -> Result<(), Broken> {
        self.asked = Some(0);
        self.connection.send_packed_command(Packed::command(&[b"PING"]).bytes()).map_err(broken)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};

    use r2d2_redis::redis::Client;

    use super::*;

    #[test]
    fn a_connection_that_does_not_answer_when_asked_is_given_up() {
        let nobody = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("there is a loopback interface");
        let port = nobody.local_addr().expect("it is bound").port();
        // Without a password and with database 0 it is made without a word.
        let client = Client::open(format!("redis://127.0.0.1:{port}/")).expect("it is a URL");
        let mut connection = client.get_connection().expect("the system accepts it");
        connection.set_read_timeout(Some(Duration::from_millis(5))).expect("it is not zero");
        let mut listening = Listening { connection: &mut connection, asked: None };
        for _ in 0..ANSWER * 2 {
            assert!(listening.next().is_ok_and(|heard| heard.is_none()), "silence alone is no sign");
        }
        listening.ping().expect("the system takes it");
        let looks = (0..ANSWER * 2).take_while(|_| listening.next().is_ok()).count();
        assert_eq!(looks + 1, ANSWER as usize);
    }
}
