//! Hearing that locks may be free: one connection and one thread for all waiters of a store in this
//! process.
//!
//! A server that can track keys (Redis 6 and later) is asked with each attempt of a waiter to tell of
//! changes of the keys that the attempt read. It tells this connection, whoever changes a key and
//! whatever makes it go. Other servers are told by whoever releases a lock, through a channel.

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use redis::{Connection, FromRedisValue, Msg, RedisError, RedisResult, Value};
use tenure_core::{Error, Moment, Result};

use crate::keys::Keys;
use crate::places::Places;
use crate::pool::{Tracker, Wire};
use crate::waited::{Registration, Waited};
use crate::wire::Timed;

/// The channel through which a server tells of tracked keys to a client that is not on RESP3.
const INVALIDATED: &str = "__redis__:invalidate";

/// How long the thread listens before it looks whether it is still wanted.
const LOOK: Duration = Duration::from_millis(500);

/// After so much silence it asks the server whether it is there.
const SILENCE: Duration = Duration::from_secs(30);

/// What is listened to, and for whom.
pub(crate) struct Ears {
    pub(crate) waited: Arc<Waited>,
    /// Where releases are told; nothing if the server can track keys.
    pub(crate) channel: Vec<u8>,
    /// Those who stand in queues at the server.
    pub(crate) places: Option<Arc<Places>>,
}

/// The listener of a store; ends with its last handle.
pub(crate) struct Listener(Arc<Shared>);

struct Shared {
    waited: Arc<Waited>,
    /// How often it tried to connect.
    tries: Mutex<u64>,
    changed: Condvar,
    /// The id of the connection at the server, or zero while there is none.
    client: AtomicI64,
}

impl Listener {
    /// Starts listening.
    ///
    /// # Errors
    ///
    /// `Unavailable` if there is no thread to be had.
    pub(crate) fn start(timed: Timed, ears: Ears) -> Result<Self> {
        let shared = Arc::new(Shared {
            waited: ears.waited.clone(),
            tries: Mutex::default(),
            changed: Condvar::new(),
            client: AtomicI64::new(0),
        });
        let listening = Listening { timed, ears, shared: Arc::downgrade(&shared) };
        thread::Builder::new()
            .name("tenure-redis-watch".into())
            .spawn(move || listening.run())
            .map_err(|source| Error::unavailable("no thread to listen with").with_source(source).settled())?;
        Ok(Self(shared))
    }

    /// Promises to notify of a lock, once it is listening.
    ///
    /// # Errors
    ///
    /// `Unavailable` if it could not connect.
    pub(crate) fn register(&self, key: &str, keys: &Keys, patience: Duration) -> Result<Registration> {
        self.wait_until_it_listens(patience)?;
        Ok(self.0.waited.clone().register(key, keys))
    }

    /// Waits for the connection that listens.
    ///
    /// # Errors
    ///
    /// `Unavailable` if it could not connect.
    pub(crate) fn wait_until_it_listens(&self, patience: Duration) -> Result<()> {
        let until = Moment::now() + patience;
        let mut tries = self.0.tries();
        let before = *tries;
        while self.0.client.load(Ordering::SeqCst) == 0 {
            let left = until.since(Moment::now());
            if left.is_zero() || *tries > before {
                return Err(Error::unavailable("no connection to listen on").settled());
            }
            tries = self.0.changed.wait_timeout(tries, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(())
    }

    /// Whom the server is to tell of a key's change, if anybody here waits for that lock.
    pub(crate) fn tracker(&self, keys: &Keys) -> Option<Tracker> {
        let client = self.0.client.load(Ordering::SeqCst);
        (client != 0 && self.is_awaited(keys)).then_some(Tracker(client))
    }

    /// Whether anybody in this process waits for a lock.
    pub(crate) fn is_awaited(&self, keys: &Keys) -> bool {
        self.0.waited.is_awaited(keys)
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").field("client", &self.0.client).finish_non_exhaustive()
    }
}

impl Shared {
    fn tries(&self) -> MutexGuard<'_, u64> {
        self.tries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says that it listens as this client, or as none.
    fn listens_as(&self, client: i64) {
        let mut tries = self.tries();
        *tries += 1;
        self.client.store(client, Ordering::SeqCst);
        drop(tries);
        self.changed.notify_all();
    }
}

/// The thread.
struct Listening {
    timed: Timed,
    ears: Ears,
    shared: Weak<Shared>,
}

impl Listening {
    fn run(self) {
        let mut pause = Duration::from_millis(50);
        while self.shared.strong_count() > 0 {
            let began = Moment::now();
            drop(self.listen());
            if let Some(shared) = self.shared.upgrade() {
                shared.listens_as(0);
            }
            // Whoever waits asks again now, and then at its own pace.
            self.ears.waited.all_changed();
            pause = if Moment::now().since(began) > SILENCE { Duration::from_millis(50) } else { pause * 2 };
            pause = pause.min(Duration::from_secs(2));
            self.sleep(pause);
        }
    }

    fn sleep(&self, time: Duration) {
        let until = Moment::now() + time;
        while self.shared.strong_count() > 0 {
            let left = until.since(Moment::now());
            if left.is_zero() {
                return;
            }
            thread::sleep(left.min(LOOK));
        }
    }

    /// Listens until the connection fails or nobody is left to listen for.
    fn listen(&self) -> RedisResult<()> {
        let mut connection = self.timed.connection()?;
        let client = id(&mut connection)?;
        let mut messages = connection.as_pubsub();
        messages.subscribe(INVALIDATED)?;
        if !self.ears.channel.is_empty() {
            messages.subscribe(&self.ears.channel)?;
        }
        if let Some(places) = &self.ears.places {
            messages.subscribe(places.channel())?;
        }
        messages.set_read_timeout(Some(LOOK))?;
        if let Some(shared) = self.shared.upgrade() {
            shared.listens_as(client);
        }
        // What happened before the connection was there was heard by nobody.
        self.ears.waited.all_changed();
        let mut heard = Moment::now();
        while self.shared.strong_count() > 0 {
            match messages.get_message() {
                Ok(message) => {
                    heard = Moment::now();
                    self.hear(&message);
                }
                Err(error) if is_silence(&error) => {
                    if Moment::now().since(heard) > SILENCE {
                        messages.ping::<Value>()?;
                        heard = Moment::now();
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn hear(&self, message: &Msg) {
        let Ears { waited, places, .. } = &self.ears;
        match (message.get_channel_name(), places) {
            (INVALIDATED, _) => match message.get_payload::<Option<Vec<Vec<u8>>>>() {
                Ok(Some(keys)) => keys.iter().for_each(|key| waited.changed(key)),
                // All keys are gone.
                _ => waited.all_changed(),
            },
            (_, None) => waited.changed(message.get_payload_bytes()),
            (_, Some(places)) => {
                if let Some(release) = places.hear(message.get_payload_bytes()) {
                    // Rare enough for a connection of its own.
                    let wire =
                        self.timed.connection().map(|mut wire| wire.exchange(&release.by_text()).is_ok());
                    drop(wire);
                }
            }
        }
    }
}

fn id(connection: &mut Connection) -> RedisResult<i64> {
    let reply: Value = redis::cmd("CLIENT").arg("ID").query(connection)?;
    Ok(i64::from_redis_value(reply)?)
}

fn is_silence(error: &RedisError) -> bool {
    error.is_timeout()
}
