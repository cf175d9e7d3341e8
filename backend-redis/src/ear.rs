//! Hearing what a server says unasked, on a connection of its own.

use std::time::Duration;

use redis::{FromRedisValue, PubSub, RedisResult, Value};

use crate::pool::{Broken, Wire};
use crate::resp::{Packed, Reply};
use crate::wire::{Place, Whereabouts, broken, reply};

/// Where to listen.
pub(crate) trait Hearing: Whereabouts + 'static {
    /// Connects to the server of this number, subscribes to channels, and lets somebody listen until he has
    /// enough: he is told which client of the server the connection is.
    fn hear(
        &self,
        server: u64,
        channels: &[&[u8]],
        pause: Duration,
        listen: Listen<'_>,
    ) -> Result<(), Broken>;

    /// Sends a request to the server of this number, on a connection of its own.
    fn say(&self, server: u64, request: &Packed);
}

/// How many pauses an answer may take.
pub(crate) const ANSWER: u32 = 4;

/// Who listens.
pub(crate) type Listen<'l> = &'l mut dyn FnMut(i64, &mut dyn Ear) -> Result<(), Broken>;

/// A connection that listens.
pub(crate) trait Ear {
    /// What is said next; `None` after a pause.
    fn next(&mut self) -> Result<Option<Heard>, Broken>;

    /// Asks whether the server is there. It answers within a few pauses, or the connection counts as dead,
    /// now or at the next look: one whose other side has vanished says nothing of that by itself.
    fn ping(&mut self) -> Result<(), Broken>;
}

/// What was said.
#[derive(Debug)]
pub(crate) struct Heard {
    pub(crate) channel: Vec<u8>,
    pub(crate) payload: Reply,
}

impl<P: Place + 'static> Hearing for P {
    fn hear(
        &self,
        server: u64,
        channels: &[&[u8]],
        pause: Duration,
        listen: Listen<'_>,
    ) -> Result<(), Broken> {
        let mut connection = self.connection(server).map_err(broken)?;
        let client: Value = redis::cmd("CLIENT").arg("ID").query(&mut connection).map_err(broken)?;
        let client = i64::from_redis_value(client).map_err(|error| broken(error.into()))?;
        let mut messages = connection.as_pubsub();
        let subscribed: RedisResult<()> = channels.iter().try_for_each(|channel| messages.subscribe(channel));
        subscribed.and_then(|()| messages.set_read_timeout(Some(pause))).map_err(broken)?;
        listen(client, &mut Listening { messages, pause })
    }

    fn say(&self, server: u64, request: &Packed) {
        if let Ok(mut connection) = self.connection(server) {
            drop(connection.exchange(request));
        }
    }
}

struct Listening<'c> {
    messages: PubSub<'c>,
    pause: Duration,
}

impl Ear for Listening<'_> {
    fn next(&mut self) -> Result<Option<Heard>, Broken> {
        match self.messages.get_message() {
            Ok(message) => {
                let channel = message.get_channel_name().as_bytes().to_vec();
                let payload = message.get_payload::<Value>().map_or(Reply::Nil, reply);
                Ok(Some(Heard { channel, payload }))
            }
            Err(error) if error.is_timeout() => Ok(None),
            Err(error) => Err(broken(error)),
        }
    }

    fn ping(&mut self) -> Result<(), Broken> {
        let messages = &mut self.messages;
        messages.set_read_timeout(Some(self.pause * ANSWER)).map_err(broken)?;
        let answered = messages.ping::<Value>();
        messages.set_read_timeout(Some(self.pause)).map_err(broken)?;
        answered.map(drop).map_err(broken)
    }
}
