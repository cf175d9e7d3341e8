//! Hearing that locks may be free: one connection and one thread for all waiters of a store in this
//! process, or one for each node of a cluster.
//!
//! A server that can track keys (Redis 6 and later) is asked with each attempt of a waiter to tell of
//! changes of the keys that the attempt read. It tells this connection, whoever changes a key and
//! whatever makes it go. Other servers are told by whoever releases a lock, through a channel.

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use tenure_core::{Error, Moment, Result};

use crate::ear::{Heard, Hearing};
use crate::places::Places;
use crate::pool::Broken;
use crate::resp::Reply;
use crate::script::{By, Call};
use crate::waited::Waited;

/// The channel through which a server tells of tracked keys to a client that is not on RESP3.
const INVALIDATED: &str = "__redis__:invalidate";

/// How long the thread listens before it looks whether it is still wanted.
const LOOK: Duration = Duration::from_millis(500);

/// After so much silence it asks the server whether it is there. It has a few looks to answer.
const SILENCE: Duration = Duration::from_secs(10);

/// What is listened to, and for whom.
#[derive(Clone)]
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
    pub(crate) fn start(hearing: Arc<dyn Hearing>, server: u64, ears: Ears) -> Result<Self> {
        let shared =
            Arc::new(Shared { tries: Mutex::default(), changed: Condvar::new(), client: AtomicI64::new(0) });
        let listening = Listening { hearing, server, ears, shared: Arc::downgrade(&shared) };
        thread::Builder::new()
            .name("tenure-redis-watch".into())
            .spawn(move || listening.run())
            .map_err(|source| Error::unavailable("no thread to listen with").with_source(source).settled())?;
        Ok(Self(shared))
    }

    /// Waits until it is listening.
    ///
    /// # Errors
    ///
    /// `Unavailable` if it could not connect.
    pub(crate) fn listening(&self, patience: Duration) -> Result<()> {
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

    /// Whom the server is to tell of changes, if it is listening.
    pub(crate) fn client(&self) -> Option<i64> {
        Some(self.0.client.load(Ordering::SeqCst)).filter(|client| *client != 0)
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
    hearing: Arc<dyn Hearing>,
    server: u64,
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
    fn listen(&self) -> std::result::Result<(), Broken> {
        let Ears { waited, channel, places } = &self.ears;
        let handed = places.as_ref().map(|places| places.channel());
        let mut channels = vec![INVALIDATED.as_bytes()];
        channels.extend((!channel.is_empty()).then_some(&**channel));
        channels.extend(handed.as_ref().map(|channel| channel.as_bytes()));
        let epoch = self.hearing.epoch();
        self.hearing.hear(self.server, &channels, LOOK, &mut |client, ear| {
            if let Some(shared) = self.shared.upgrade() {
                shared.listens_as(client);
            }
            // What happened before the connection was there was heard by nobody.
            waited.all_changed();
            let mut last = Moment::now();
            while self.shared.strong_count() > 0 && self.hearing.epoch() == epoch {
                match ear.next()? {
                    Some(heard) => {
                        last = Moment::now();
                        self.hear(&heard);
                    }
                    None if Moment::now().since(last) > SILENCE => {
                        ear.ping()?;
                        last = Moment::now();
                    }
                    None => {}
                }
            }
            Ok(())
        })
    }

    fn hear(&self, heard: &Heard) {
        let Ears { waited, places, .. } = &self.ears;
        if heard.channel == INVALIDATED.as_bytes() {
            match heard.payload.list() {
                Some(keys) => keys.iter().filter_map(Reply::text).for_each(|key| waited.changed(key)),
                // All keys are gone.
                None => waited.all_changed(),
            }
            return;
        }
        let payload = heard.payload.text().unwrap_or_default();
        match places {
            None => waited.changed(payload),
            Some(places) => {
                if let Some(release) = places.hear(payload) {
                    self.say(&release);
                }
            }
        }
    }

    /// Sends a call on a connection of its own; rare enough for that. Whether it is answered matters to
    /// nobody.
    fn say(&self, call: &Call) {
        if let Ok(server) = self.hearing.server(call.key()) {
            self.hearing.say(server, &call.packed(By::Text));
        }
    }
}
