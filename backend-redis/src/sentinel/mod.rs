//! A master that sentinels watch over: who it is is asked before each connection, and connections to one
//! that was are not used again.

#[cfg(feature = "async")]
pub(crate) mod aio;

use std::error::Error as StdError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use redis::{Client, Connection, ErrorKind, RedisConnectionInfo, RedisError, RedisResult};
use tenure_core::{Error, Result, Site};

use crate::cluster::Address;
use crate::dial::Dial;
use crate::pool::{Broken, Connect, Wire};
use crate::resp::{Packed, Reply};
use crate::script;
use crate::wire::{Place, Whereabouts, reply};

/// The sentinels, and what is known of their master; no I/O.
pub(crate) struct Sentinels {
    name: Box<str>,
    state: Mutex<State>,
    /// Grows when connections from before are not to be used any more.
    epoch: AtomicU64,
    /// Who is told of another master.
    site: OnceLock<Site>,
}

struct State {
    /// The one that named the master last stands first.
    addresses: Vec<Address>,
    master: Option<Address>,
}

/// What a sentinel said.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Word {
    Master(Address),
    Unknown,
}

/// What a master says of itself first.
const MASTER: &[u8] = b"master";

impl Sentinels {
    pub(crate) fn new(addresses: Vec<Address>, name: Box<str>) -> Self {
        let state = Mutex::new(State { addresses, master: None });
        Self { name, state, epoch: AtomicU64::new(0), site: OnceLock::new() }
    }

    /// Tells of another master from now on, which may not know all locks that its predecessor granted.
    pub(crate) fn tell(&self, site: &Site) {
        let _ = self.site.set(site.clone());
    }

    /// What is asked of a sentinel.
    pub(crate) fn question(&self) -> [&[u8]; 3] {
        [b"SENTINEL", b"GET-MASTER-ADDR-BY-NAME", self.name.as_bytes()]
    }

    /// What its answer means.
    pub(crate) fn word(answer: &Reply) -> Result<Word> {
        match answer {
            Reply::Nil => Ok(Word::Unknown),
            Reply::List(parts) => {
                let [host, port] = &parts[..] else { return Err(script::odd(answer)) };
                let host = host.text().and_then(|host| std::str::from_utf8(host).ok());
                let port = port.int().and_then(|port| u16::try_from(port).ok());
                match (host, port) {
                    (Some(host), Some(port)) => Ok(Word::Master(Address { host: host.into(), port })),
                    _ => Err(script::odd(answer)),
                }
            }
            _ => Err(script::odd(answer)),
        }
    }

    /// Whom to ask, in this order.
    pub(crate) fn whom(&self) -> Vec<Address> {
        self.state().addresses.clone()
    }

    /// How long each may take to be reached, so that all of them together take half the time.
    pub(crate) fn share(&self, limit: Duration) -> Duration {
        let count = u32::try_from(self.state().addresses.len()).unwrap_or(u32::MAX);
        limit / 2 / count.max(1)
    }

    /// A sentinel named the master: it is asked first from now on.
    pub(crate) fn answered(&self, sentinel: &Address) {
        self.state().addresses.sort_by_key(|address| address != sentinel);
    }

    /// What the answer to `ROLE` means: whether this is a master still. If so, connections to another
    /// one are of the past from now on. The epoch of those to this one.
    pub(crate) fn greeted(&self, address: &Address, role: &Reply) -> Result<u64> {
        let kind = role.list().and_then(|parts| parts.first()).and_then(Reply::text);
        match kind {
            Some(MASTER) => {}
            Some(_) => {
                return Err(Error::unavailable(
                    "the sentinels name a server that is no master yet, or no more; a fail-over is under way",
                )
                .settled());
            }
            None => return Err(script::odd(role)),
        }
        let mut state = self.state();
        if state.master.as_ref() != Some(address) {
            state.master = Some(address.clone());
            self.epoch.fetch_add(1, Ordering::SeqCst);
            drop(state);
            if let Some(site) = self.site.get() {
                site.doubt(|_| true);
            }
        }
        Ok(self.epoch())
    }

    /// A connection of this epoch was silent: whether the others are not is not tried out, one time
    /// limit after the other, but asked of the sentinels.
    pub(crate) fn is_silent(&self, epoch: u64) {
        let _ = self.epoch.compare_exchange(epoch, epoch + 1, Ordering::SeqCst, Ordering::SeqCst);
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::SeqCst)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A search for the master, from one sentinel to the next: each may know nothing, or something old. No I/O.
#[derive(Default)]
pub(crate) struct Search {
    /// Whom they named so far.
    named: Vec<Address>,
    /// Whether one of them knew no master of this name.
    unknown: bool,
    /// Why one of them did not answer.
    silent: Option<RedisError>,
    /// Why what they named is not the master.
    failed: Option<Error>,
}

impl Search {
    /// What a sentinel answered: whom to try, if it names another than those before it.
    pub(crate) fn heard(&mut self, answer: RedisResult<Reply>) -> Option<Address> {
        match answer.map(|answer| Sentinels::word(&answer)) {
            Ok(Ok(Word::Master(address))) if !self.named.contains(&address) => {
                self.named.push(address.clone());
                return Some(address);
            }
            Ok(Ok(Word::Master(_))) => {}
            Ok(Ok(Word::Unknown)) => self.unknown = true,
            Ok(Err(odd)) => self.failed(odd),
            Err(error) => self.silent = Some(error),
        }
        None
    }

    /// What was named cannot be reached, or is no master.
    pub(crate) fn failed(&mut self, error: Error) {
        self.failed = Some(error);
    }

    /// What to say when all were asked.
    pub(crate) fn failure(self, sentinels: &Sentinels) -> Error {
        let name = &*sentinels.name;
        match (self.failed, self.unknown, self.silent) {
            (Some(error), ..) => error,
            (None, true, None) => Error::misconfigured(format!(
                "the sentinels know no master {name:?}; see SENTINEL MASTERS for the names that they know"
            )),
            (None, true, Some(silent)) => Error::unavailable(format!(
                "the sentinels that answer know no master {name:?}, and others do not answer"
            ))
            .with_source(silent)
            .settled(),
            (None, false, silent) => {
                let error = Error::unavailable(
                    "no sentinel answers; see whether they run, and whether the URL names them",
                );
                match silent {
                    Some(silent) => error.with_source(silent),
                    None => error,
                }
                .settled()
            }
        }
    }
}

/// What shows that a connection leads to no master, or to one that serves nothing.
pub(crate) fn is_demoted(reply: &Reply) -> bool {
    matches!(reply, Reply::Error(message) if message.contains("READONLY") || message.starts_with("MASTERDOWN"))
}

/// A sentinel is asked without credentials, and with those of the master if it wants some.
pub(crate) fn plain(client: &Client) -> RedisResult<Client> {
    Client::open(client.get_connection_info().clone().set_redis_settings(RedisConnectionInfo::default()))
}

/// As [`plain`], with the credentials. Sentinels have no databases.
pub(crate) fn known(client: &Client) -> RedisResult<Client> {
    let info = client.get_connection_info().clone();
    let settings = info.redis_settings().clone().set_db(0);
    Client::open(info.set_redis_settings(settings))
}

/// Whether a sentinel wants credentials.
pub(crate) fn wants_credentials(error: &RedisError) -> bool {
    error.code() == Some("NOAUTH") || error.kind() == ErrorKind::AuthenticationFailed
}

/// The way of threads to the master; clones share it.
#[derive(Clone)]
pub(crate) struct Followed(Arc<Inner>);

struct Inner {
    sentinels: Sentinels,
    dial: Dial,
}

/// A connection to a master.
pub(crate) struct Current {
    connection: Connection,
    epoch: u64,
    demoted: bool,
    inner: Arc<Inner>,
}

impl Followed {
    pub(crate) fn new(sentinels: Sentinels, dial: Dial) -> Self {
        Self(Arc::new(Inner { sentinels, dial }))
    }

    /// Tells of another master from now on.
    pub(crate) fn tell(&self, site: &Site) {
        self.0.sentinels.tell(site);
    }

    /// Asks the sentinels for the master, and connects to it.
    ///
    /// # Errors
    ///
    /// `Misconfigured` if they do not know it by this name. `Unavailable` if none of them answers, or
    /// what they name does not, or is no master.
    pub(crate) fn reach(&self) -> Result<Current> {
        let sentinels = &self.0.sentinels;
        let mut search = Search::default();
        for sentinel in sentinels.whom() {
            let Some(address) = search.heard(self.ask(&sentinel)) else { continue };
            match self.greet(&address) {
                Ok(current) => {
                    sentinels.answered(&sentinel);
                    return Ok(current);
                }
                Err(error) => search.failed(error),
            }
        }
        Err(search.failure(sentinels))
    }

    fn greet(&self, address: &Address) -> Result<Current> {
        let unreachable = |source: RedisError| {
            let message = format!("no connection to {address}, which the sentinels name as the master");
            Error::unavailable(message).with_source(source).settled()
        };
        let connected = self.0.dial.timed(address)?.connection();
        let mut connection = connected.map_err(|error| match error.code() {
            Some(code) => script::odd(&Reply::refusal(code, error.detail())),
            None => unreachable(error),
        })?;
        let role = Wire::exchange(&mut connection, &Packed::command(&[b"ROLE"]));
        let role = role.map_err(|broken| {
            Error::unavailable("the master does not answer").with_source(broken.source).settled()
        })?;
        let epoch = self.0.sentinels.greeted(address, role.first().unwrap_or(&Reply::Nil))?;
        Ok(Current { connection, epoch, demoted: false, inner: self.0.clone() })
    }

    fn ask(&self, sentinel: &Address) -> RedisResult<Reply> {
        let limit = self.0.sentinels.share(self.0.dial.connect_timeout());
        let client = self.0.dial.client(sentinel).map_err(|_| unusable())?;
        match self.ask_as(&plain(&client)?, limit) {
            Err(error) if wants_credentials(&error) => self.ask_as(&known(&client)?, limit),
            answer => answer,
        }
    }

    fn ask_as(&self, client: &Client, limit: Duration) -> RedisResult<Reply> {
        let mut connection = client.get_connection_with_timeout(limit)?;
        connection.set_read_timeout(Some(limit))?;
        connection.set_write_timeout(Some(limit))?;
        let question = Packed::command(&self.0.sentinels.question());
        connection.send_packed_command(question.bytes())?;
        Ok(reply(connection.recv_response()?.extract_error()?))
    }
}

/// A URL that named a sentinel was tried before.
pub(crate) fn unusable() -> RedisError {
    (ErrorKind::InvalidClientConfig, "the sentinel's address cannot be used").into()
}

impl Connect for Followed {
    type Wire = Current;

    fn connect(&self) -> Result<Current, Box<dyn StdError + Send + Sync>> {
        Ok(self.reach()?)
    }
}

impl Wire for Current {
    fn exchange(&mut self, packed: &Packed) -> Result<Vec<Reply>, Broken> {
        let replies = Wire::exchange(&mut self.connection, packed).inspect_err(|broken| {
            if !broken.closed {
                self.inner.sentinels.is_silent(self.epoch);
            }
        })?;
        self.demoted = replies.iter().any(is_demoted);
        Ok(replies)
    }

    fn serves(&self) -> bool {
        !self.demoted && self.epoch == self.inner.sentinels.epoch()
    }
}

impl Place for Followed {
    fn connection(&self, _: u64) -> RedisResult<Connection> {
        let current = self.reach().map_err(|error| (ErrorKind::Io, "no master", error.to_string()))?;
        Ok(current.connection)
    }
}

impl Whereabouts for Followed {
    fn epoch(&self) -> u64 {
        self.0.sentinels.epoch()
    }
}
