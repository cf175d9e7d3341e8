//! Opening a store: where the server is, and how long it may take.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use redis::{Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo};
#[cfg(feature = "async")]
use tenure_core::Site;
use tenure_core::{Error, Result, Settings};

use crate::acks::Acks;
use crate::backend::Redis;
use crate::fair::Queue;
use crate::keys::MARK;
use crate::pool::Pool;
use crate::profile::Profile;
use crate::script::{Dialect, Guard};
use crate::several::Several;
use crate::tls::{self, Trust};
use crate::url;
use crate::wire::Timed;

/// How a store is to be opened; made by [`Redis::builder`].
#[derive(Clone)]
pub struct Builder {
    url: Box<str>,
    settings: Settings,
    connect_timeout: Duration,
    io_timeout: Duration,
    pool_size: u32,
    wake: Wake,
    acks: Option<Acks>,
    fair: bool,
    guard: bool,
    profile: Option<Profile>,
    trust: Trust,
}

/// How waiters hear that a lock may be free.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Wake {
    /// By the server where it can track keys, else through a channel.
    #[default]
    Auto,
    /// Through a channel to which every release is published. All who share the locks must choose
    /// it; for servers before Redis 6, and for proxies that hide the rest.
    Channel,
}

impl Builder {
    pub(crate) fn new(url: &str) -> Self {
        let (url, fair) = without_fair(url);
        Self {
            url: url.into(),
            settings: Settings::default(),
            connect_timeout: Duration::from_secs(2),
            io_timeout: Duration::from_secs(2),
            pool_size: 16,
            wake: Wake::Auto,
            acks: None,
            fair,
            guard: false,
            profile: None,
            trust: Trust::default(),
        }
    }

    /// Sets the defaults of the store's locks.
    #[must_use]
    pub fn settings(self, settings: Settings) -> Self {
        Self { settings, ..self }
    }

    /// Sets how long making a connection may take, 2 s by default, 10 ms to 60 s.
    #[must_use]
    pub fn connect_timeout(self, limit: Duration) -> Self {
        Self { connect_timeout: limit, ..self }
    }

    /// Sets how long an answer may take, 2 s by default, 10 ms to 60 s. After that the connection is
    /// thrown away.
    #[must_use]
    pub fn io_timeout(self, limit: Duration) -> Self {
        Self { io_timeout: limit, ..self }
    }

    /// Sets how many connections threads share, 16 by default, 1 to 10 000; one more listens while
    /// somebody waits.
    #[must_use]
    pub fn pool_size(self, size: u32) -> Self {
        Self { pool_size: size, ..self }
    }

    /// Sets how waiters hear that a lock may be free.
    #[must_use]
    pub fn wake(self, wake: Wake) -> Self {
        Self { wake, ..self }
    }

    /// Demands that this many replicas, 1 to 1000, acknowledge each grant and each renewal within
    /// this time, 1 ms to half of [`io_timeout`](Self::io_timeout). None need to by default.
    ///
    /// It is asked for in the same round trip (`WAIT`). If too few do, a grant is given back, and
    /// either way the answer is `Unavailable`: a lock that is held stays
    /// [`Unknown`](tenure_core::Status::Unknown) until a renewal is acknowledged or its lease ends.
    ///
    /// This narrows the window in which a fail-over forgets a lock, and does not close it: the
    /// replica that is made master may be another than those that acknowledged. It should go with
    /// `min-replicas-to-write` at the server, and be a majority of the replicas.
    ///
    /// Waiting holds up whatever else was sent on the same connection, so a missing replica makes
    /// an asynchronous store, which has one connection to each server, slow for all of its tasks.
    #[must_use]
    pub fn replicas(self, count: u32, within: Duration) -> Self {
        Self { acks: Some(Acks { replicas: count, within }), ..self }
    }

    /// Hands locks on in the order in which processes asked for them: whoever releases one makes the
    /// first in a queue at the server its next owner. All who share the locks must choose it.
    ///
    /// Contended locks then cost one request per hand-off, however many wait, and nobody overtakes, be it
    /// a reader or a writer. A process has one place in a queue at a time, whatever it has of waiters. What
    /// it costs: a waiter that dies in the queue is passed over only after three times the settings'
    /// `recheck`, and until then may be handed the lock, for a third of its lease; a lock that was handed
    /// on may stay taken by up to that `recheck` longer than its lease if its holder dies; and who takes
    /// locks by other means than this library's overtakes, and is not waited for by events.
    ///
    /// The same as `?fair=1` at the end of the URL.
    #[must_use]
    pub fn fair(self) -> Self {
        Self { fair: true, ..self }
    }

    /// Keeps all locks closed for the settings' `max_ttl` after the server was started or lost its data,
    /// until every lease from before has ended for sure. All who share the locks must choose it, with the
    /// same `max_ttl`.
    ///
    /// For servers that do not save every change before they answer, which forget leases when they crash.
    /// It costs no request, but locks stay closed after every start of the server, the very first one and
    /// an orderly one included: so set a `max_ttl` that can be waited for. Until then who asks is
    /// `Quarantined`, with the time that is left; who waits is served after it. It does not see that the
    /// latest changes were lost in a fail-over to a server that had served these locks before, and other
    /// libraries that take the same locks do not heed it.
    #[must_use]
    pub fn restart_guard(self) -> Self {
        Self { guard: true, ..self }
    }

    /// Sets whose locks the store's are to exclude, by how their keys and values look; before the
    /// option `profile` of the URL.
    #[must_use]
    pub fn profile(self, profile: Profile) -> Self {
        Self { profile: Some(profile), ..self }
    }

    /// Sets who is trusted to say that a server is the one that the URL names (`rediss://`): the
    /// authorities whose certificates these are, as PEM, and nobody else. By default they are those that
    /// the system trusts, or that the variables `SSL_CERT_FILE` and `SSL_CERT_DIR` name.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn authorities(self, pem: impl Into<Box<[u8]>>) -> Self {
        Self { trust: Trust::only(pem), ..self }
    }

    /// As [`authorities`](Self::authorities), from a file.
    ///
    /// # Errors
    ///
    /// `Misconfigured` if the file cannot be read.
    #[cfg(feature = "tls")]
    pub fn authorities_from(self, file: impl AsRef<std::path::Path>) -> Result<Self> {
        let file = file.as_ref();
        let pem = std::fs::read(file).map_err(|source| {
            let message = format!("the authorities in {} cannot be read", file.display());
            Error::misconfigured(message).with_source(source)
        })?;
        Ok(self.authorities(pem))
    }

    /// Opens the store, and asks the server what it can do.
    ///
    /// # Errors
    ///
    /// `Misconfigured` for a URL or a setting that cannot work, or a user that may not do what locks
    /// need. `Unavailable` if the server does not answer.
    pub fn connect(self) -> Result<Redis> {
        let this = self.profiled()?;
        if let Some(several) = Several::parse(&this.url)? {
            let label = several.label.clone();
            return several.open(this).map_err(|error| error.at(&label));
        }
        let info = this.info()?;
        let label = label(&info);
        this.open(info, &label).map_err(|error| error.at(&label))
    }

    /// Opens the store for asynchronous code, in the tokio runtime that this is called in.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect). `Misconfigured` outside a runtime.
    ///
    /// # Cancel safety
    ///
    /// Dropped half-way, it has opened nothing that stays open.
    #[cfg(feature = "async")]
    pub async fn connect_async(self) -> Result<crate::AsyncRedis> {
        use redis::ProtocolVersion;

        let this = self.profiled()?;
        if let Some(several) = Several::parse(&this.url)? {
            let label = several.label.clone();
            return several.open_async(this).await.map_err(|error| error.at(&label));
        }
        let info = this.info()?;
        let label = label(&info);
        let speaking = |protocol| {
            let settings = info.redis_settings().clone().set_protocol(protocol);
            this.client(info.clone().set_redis_settings(settings)).map_err(|error| error.at(&label))
        };
        let (client, plain) = (speaking(ProtocolVersion::RESP3)?, speaking(ProtocolVersion::RESP2)?);
        let plain =
            Timed { client: plain, connect_timeout: this.connect_timeout, io_timeout: this.io_timeout };
        let limits = crate::link::Limits { connect: this.connect_timeout, io: this.io_timeout };
        let servers = crate::net::Servers::One(client.into(), Some(plain));
        let site = this.site(&label);
        let opened = crate::AsyncRedis::open(servers, site, limits, |tracks| this.dialect(tracks));
        opened.await.map_err(|error| error.at(&label))
    }

    /// What the store will be called, once it is clear that the URL is one.
    pub(crate) fn label(&self) -> Result<String> {
        Ok(label(&self.info()?))
    }

    fn open(self, info: ConnectionInfo, label: &str) -> Result<Redis> {
        let client = self.client(info)?;
        let timed = Timed { client, connect_timeout: self.connect_timeout, io_timeout: self.io_timeout };
        let transport = Pool::new(timed.clone(), self.pool_size, self.connect_timeout);
        let dialect = self.dialect(crate::backend::can_track(&transport)?);
        Ok(Redis::new(label, self.settings, Box::new(transport), Arc::new(timed), dialect))
    }

    /// With the settings that the profile asks for.
    pub(crate) fn profiled(self) -> Result<Self> {
        let profile = match &self.profile {
            Some(profile) => profile.clone(),
            None => url::profile(&self.url)?.unwrap_or_default(),
        };
        let settings = profile.applied(self.settings)?;
        Ok(Self { settings, profile: Some(profile), ..self })
    }

    pub(crate) fn client(&self, info: ConnectionInfo) -> Result<Client> {
        self.check()?;
        self.trust.client(info)
    }

    /// Whether the settings can work.
    pub(crate) fn check(&self) -> Result<()> {
        within("connect_timeout", self.connect_timeout)?;
        within("io_timeout", self.io_timeout)?;
        if !(1..=10_000).contains(&self.pool_size) {
            return Err(Error::misconfigured(format!(
                "pool_size is {}; it must be 1 to 10000",
                self.pool_size
            )));
        }
        if let Some(Acks { replicas, within }) = self.acks {
            if !(1..=1000).contains(&replicas) {
                return Err(Error::misconfigured(format!("replicas is {replicas}; it must be 1 to 1000")));
            }
            if within < Duration::from_millis(1) || within > self.io_timeout / 2 {
                return Err(Error::misconfigured(format!(
                    "replicas get {within:?}; it must be 1 ms to half of io_timeout, which is {:?}",
                    self.io_timeout
                )));
            }
        }
        if self.fair && matches!(self.profile, Some(Profile::Django { .. })) {
            return Err(Error::misconfigured(
                "fair() hands locks on among users of this library; leave it out, or the profile of Django's caches",
            ));
        }
        if self.settings.prefix().starts_with(MARK) {
            return Err(Error::misconfigured(format!(
                "the prefix begins with {MARK:?}, as the keys beside a lock do; choose another"
            )));
        }
        Ok(())
    }

    /// # Errors
    ///
    /// `Misconfigured` if it is to have what a cluster has not.
    pub(crate) fn for_a_cluster(&self) -> Result<()> {
        if self.guard {
            return Err(Error::misconfigured(
                "restart_guard() has one key for all locks, which a cluster has no place for; leave it out, and \
                 give the nodes `appendonly yes` and `appendfsync always`",
            ));
        }
        Ok(())
    }

    pub(crate) fn limits(&self) -> (Duration, Duration) {
        (self.connect_timeout, self.io_timeout)
    }

    pub(crate) fn connections(&self) -> u32 {
        self.pool_size
    }

    /// The site of a store that is opened.
    #[cfg(feature = "async")]
    pub(crate) fn site(&self, label: &str) -> Site {
        match self.fair {
            true => Site::queued(label, self.settings.clone()),
            false => Site::new(label, self.settings.clone()),
        }
    }

    pub(crate) fn defaults(&self) -> Settings {
        self.settings.clone()
    }

    fn info(&self) -> Result<ConnectionInfo> {
        if tls::is_asked_for(&self.url) && !cfg!(feature = "tls") {
            return Err(tls::missing());
        }
        url::profile(&self.url)?;
        url::intact(&self.url)?;
        // A URL may hold a password, and so may the crate's own words about it.
        let bad = "this is no URL of a Redis server; write redis://[[user]:password@]host[:port][/database], \
                   rediss:// for TLS, redis+unix:///path, redis+cluster:// or redis+sentinel://";
        (&*self.url).into_connection_info().map_err(|_| Error::misconfigured(bad))
    }

    pub(crate) fn dialect(&self, tracks: bool) -> Dialect {
        let tracks = tracks && self.wake == Wake::Auto;
        let channel = if tracks || self.fair {
            Vec::new()
        } else {
            format!("{MARK}n:{}", self.settings.prefix()).into_bytes()
        };
        let max_ttl = self.settings.max_ttl().get();
        Dialect {
            fence_life: Duration::from_secs(24 * 3600).max(max_ttl * 2),
            channel,
            patience: self.settings.recheck() * 2,
            note_life: max_ttl * 2,
            acks: self.acks,
            guard: self.guard.then(|| Guard::new(self.settings.prefix(), max_ttl)),
            queue: self.fair.then(|| Queue::new(self.settings.recheck())),
            tokens: self.profile.clone().unwrap_or_default().tokens(),
        }
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A URL may hold a password.
        let store = self.info().map_or_else(|_| "redis:".into(), |info| label(&info));
        f.debug_struct("Builder")
            .field("store", &store)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

fn within(setting: &str, value: Duration) -> Result<()> {
    let (least, most) = (Duration::from_millis(10), Duration::from_secs(60));
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(Error::misconfigured(format!("{setting} is {value:?}; it must be {least:?} to {most:?}")))
}

/// A URL without the option `fair`, and what it says.
fn without_fair(url: &str) -> (String, bool) {
    let Some((place, options)) = url.split_once('?') else { return (url.into(), false) };
    let mut fair = false;
    let rest: Vec<&str> = options
        .split('&')
        .filter(|option| match option.strip_prefix("fair=") {
            Some(value) => {
                fair = !matches!(value, "0" | "false" | "no");
                false
            }
            None => true,
        })
        .collect();
    let place = if rest.is_empty() { place.into() } else { format!("{place}?{}", rest.join("&")) };
    (place, fair)
}

/// The URL without what is secret.
fn label(info: &ConnectionInfo) -> String {
    let database = info.redis_settings().db();
    let database = if database == 0 { String::new() } else { format!("/{database}") };
    match info.addr() {
        ConnectionAddr::Tcp(host, port) => format!("redis://{host}:{port}{database}"),
        ConnectionAddr::TcpTls { host, port, .. } => format!("rediss://{host}:{port}{database}"),
        ConnectionAddr::Unix(path) => format!("redis+unix://{}{database}", path.display()),
        _ => "redis:".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::without_fair;

    #[test]
    fn a_url_can_ask_for_fair_locks() {
        for (url, place, fair) in [
            ("redis://h/1", "redis://h/1", false),
            ("redis://h/1?fair=1", "redis://h/1", true),
            ("redis://h/1?fair=0", "redis://h/1", false),
            ("redis://h?protocol=resp3&fair=1&x=y", "redis://h?protocol=resp3&x=y", true),
            ("redis://h?unfair=1", "redis://h?unfair=1", false),
        ] {
            assert_eq!(without_fair(url), (place.into(), fair), "{url}");
        }
    }
}

#[cfg(test)]
mod properties {
    use proptest::prelude::*;

    use super::*;

    /// URLs with a password, many of which name a server, or several.
    fn urls() -> impl Strategy<Value = String> {
        let scheme = prop_oneof![
            1 => "rediss?",
            1 => "redis\\+unix|unix",
            1 => "[a-z+]{0,6}",
            4 => "rediss?\\+(cluster|sentinel)",
        ];
        let slashes = prop_oneof![6 => Just("://"), 1 => Just(":"), 1 => Just("//"), 1 => Just(":///")];
        // Without an `@` behind them, some of these are hosts, masters and paths like any other.
        let secret = prop_oneof![
            1 => "hunter2",
            1 => "[!-~]{0,4}hunter2[!-~]{0,4}",
            1 => "\\PC{0,3}hunter2\\PC{0,3}",
            4 => "[0-9][/,@]hunter2(/[0-9a]?)?[?#]?[a-z]?",
        ];
        let user = prop_oneof!["", "[a-z]{1,3}", "%[0-9a-f]{1,2}"];
        let rest = prop_oneof![
            "[a-z]{1,5}(:[0-9]{1,6})?(/[0-9]{0,3})?(\\?(db|protocol|profile)=[a-z0-9:]{0,6})?(#insecure)?",
            "[a-z]{1,5}(:[0-9]{1,4})?(,[a-z]{1,5}(:[0-9]{1,4})?){0,2}(/[a-z]{1,5})?(/[0-9]?)?(\\?fair=1)?",
            "\\PC{0,12}",
        ];
        (scheme, slashes, user, secret, rest, 0..8).prop_map(|(scheme, slashes, user, secret, rest, form)| {
            match form {
                0..4 => format!("{scheme}{slashes}{user}:{secret}@{rest}"),
                4 => format!("{scheme}{slashes}{secret}@{rest}"),
                5 => format!("{scheme}:///tmp/s?user={user}&pass={secret}&{rest}"),
                6 => format!("{scheme}://{rest}?pass={secret}"),
                _ => format!("{scheme}://{rest}?profile={secret}"),
            }
        })
    }

    proptest! {
        #[test]
        fn no_url_shows_its_password(url in urls()) {
            let builder = Redis::builder(&url);
            let mut shown = format!("{builder:?}");
            let made = builder.profiled().and_then(|builder| {
                if let Some(several) = Several::parse(&builder.url)? {
                    shown += &several.label;
                    return several.dial(&builder).map(drop).map_err(|error| error.at(&shown));
                }
                let info = builder.info()?;
                shown += &label(&info);
                builder.client(info).map(drop).map_err(|error| error.at(&shown))
            });
            if let Err(error) = made {
                shown += &format!("{error} {error:?}");
            }
            prop_assert!(!shown.contains("hunter2"), "{url}: {shown}");
        }
    }
}
