//! Asking the server on connections of somebody else's pool.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use r2d2_redis::RedisConnectionManager;
use tenure_core::{Error, Moment, Result};

use super::wire;
use crate::pool::{Answers, Broken, Tracker, Transport, Wire, no_connection, unanswered};
use crate::resp::{Commands, Packed, Reply};

/// Somebody else's pool, and how long things may take.
#[derive(Clone)]
pub(super) struct Lent {
    pool: r2d2::Pool<RedisConnectionManager>,
    connect_timeout: Duration,
    io_timeout: Duration,
    asked: Arc<AtomicU64>,
    /// The process whose connections they are.
    pid: u32,
}

type Connection = r2d2::PooledConnection<RedisConnectionManager>;

/// What is known of a connection that was used here before.
#[derive(Clone, Copy)]
struct Known {
    tracker: Option<Tracker>,
}

/// How long an error that the pool remembers from before is looked for.
const STALE: Duration = Duration::from_millis(1);

/// How often the pool is asked why there is no connection.
const LOOK: Duration = Duration::from_millis(100);

impl Lent {
    pub(super) fn new(
        pool: r2d2::Pool<RedisConnectionManager>,
        connect_timeout: Duration,
        io_timeout: Duration,
    ) -> Self {
        Self { pool, connect_timeout, io_timeout, asked: Arc::default(), pid: std::process::id() }
    }

    /// A connection with time limits.
    pub(super) fn take(&self) -> Result<Connection> {
        if self.pid != std::process::id() {
            return Err(Error::unavailable(
                "this process was forked, and shares the connections of its parent's pool; open the store on a \
                 pool of its own",
            )
            .settled());
        }
        let connection = self.idle()?;
        let limit = Some(self.io_timeout);
        match connection.set_read_timeout(limit).and_then(|()| connection.set_write_timeout(limit)) {
            Ok(()) => Ok(connection),
            Err(source) => {
                discard(connection);
                Err(Error::unavailable("a connection takes no time limit").with_source(source).settled())
            }
        }
    }

    fn idle(&self) -> Result<Connection> {
        if let Some(idle) = self.pool.try_get() {
            return Ok(idle);
        }
        let until = Moment::now() + self.connect_timeout;
        // An error from before says nothing about now.
        let mut patience = STALE;
        loop {
            match self.pool.get_timeout(patience) {
                Ok(connection) => return Ok(connection),
                Err(error) if patience != STALE && error.to_string().contains(": ") => {
                    return Err(no_connection(&error.to_string()));
                }
                Err(_) => {}
            }
            let left = until.since(Moment::now());
            if left.is_zero() {
                let state = self.pool.state();
                return Err(Error::unavailable(format!(
                    "no connection within {:?}, {} of {} are in use; raise the pool's max_size, or see whether the \
                     server answers",
                    self.connect_timeout,
                    state.connections - state.idle_connections,
                    self.pool.max_size()
                ))
                .settled());
            }
            patience = left.min(LOOK);
        }
    }

    /// Sends commands and waits for their answers, after having made sure that the answers are to them.
    pub(super) fn ask(
        &self,
        connection: &mut Connection,
        packed: &Packed,
        track: Option<Tracker>,
    ) -> std::result::Result<Vec<Reply>, Broken> {
        // Nobody else's answer looks like this.
        let mark = format!("tenure {} {}", std::process::id(), self.asked.fetch_add(1, Ordering::Relaxed));
        let mut all = Packed::command(&[b"PING", mark.as_bytes()]);
        if let Some(tracker) = track {
            let known = r2d2::PooledConnection::extensions_mut(connection).insert(Known { tracker: track });
            if known.and_then(|known| known.tracker) != track {
                let id = tracker.client.to_string();
                all.push(&[b"CLIENT", b"TRACKING", b"ON", b"REDIRECT", id.as_bytes(), b"OPTIN", b"NOLOOP"]);
            }
            all.push(&[b"CLIENT", b"CACHING", b"YES"]);
        }
        let skip = all.commands();
        let mut replies = connection.exchange(&all.followed_by(packed))?;
        // A user who may do nothing is refused each command.
        let refused = replies.iter().all(|reply| matches!(reply, Reply::Error(_)));
        if !refused && replies[0].text() != Some(mark.as_bytes()) {
            return Err(Broken {
                source: "an answer of somebody else's was left on it".into(),
                closed: true,
            });
        }
        // A tracker that is gone by now: the waiters look now and then, and it comes back.
        if replies[1..skip].iter().any(|reply| matches!(reply, Reply::Error(_))) {
            r2d2::PooledConnection::extensions_mut(connection).insert(Known { tracker: None });
        }
        replies.drain(..skip);
        Ok(replies)
    }
}

impl Transport for Lent {
    fn exchange(&self, packed: &Packed, track: Option<Tracker>) -> Result<Answers> {
        // After a restart of the server every connection from before is dead; each is found out once. How old
        // one is the pool does not tell, so as many are tried as it may have had.
        let mut dead = 0;
        loop {
            let mut connection = self.take().map_err(|error| in_doubt(error, dead > 0))?;
            match self.ask(&mut connection, packed, track) {
                Ok(replies) => {
                    give_back(connection);
                    return Ok(Answers { replies, resent: dead > 0 });
                }
                Err(broken) => {
                    discard(connection);
                    if !broken.closed || dead > self.pool.max_size() {
                        return Err(unanswered(broken));
                    }
                    dead += 1;
                }
            }
        }
    }
}

/// Why there is no other connection, for a request that may have been carried out before. What this kind
/// says of a server that closes each connection is the same as of one that refuses a password or a
/// database, which was right before.
fn in_doubt(error: Error, again: bool) -> Error {
    match again {
        true => Error::unavailable("the server closed the connection before it answered").with_source(error),
        false => error,
    }
}

/// Gives a connection back as the manager made it.
fn give_back(connection: Connection) {
    let unlimited = connection.set_read_timeout(None).and_then(|()| connection.set_write_timeout(None));
    if unlimited.is_err() {
        discard(connection);
    }
}

/// Sees to it that nobody is given this connection again.
pub(super) fn discard(mut connection: Connection) {
    match wire::closed() {
        Some(closed) => *connection = closed,
        // It would be given out again, so its place in the pool stays empty.
        None => std::mem::forget(connection),
    }
}
