//! Opening a store: where the server is, and how long it may take.

use std::time::Duration;

use redis::{Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo};
#[cfg(feature = "async")]
use tenure_core::Site;
use tenure_core::{Error, Result, Settings};

use crate::backend::Redis;
use crate::fair::Queue;
use crate::keys::MARK;
use crate::pool::Pool;
use crate::script::{Dialect, Guard};
use crate::wire::Timed;

/// How a store is to be opened; made by [`Redis::builder`].
#[derive(Clone, Debug)]
pub struct Builder {
    url: Box<str>,
    settings: Settings,
    connect_timeout: Duration,
    io_timeout: Duration,
    pool_size: u32,
    wake: Wake,
    fair: bool,
    guard: bool,
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
            fair,
            guard: false,
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

    /// Opens the store, and asks the server what it can do.
    ///
    /// # Errors
    ///
    /// `Misconfigured` for a URL or a setting that cannot work, or a user that may not do what locks
    /// need. `Unavailable` if the server does not answer.
    pub fn connect(self) -> Result<Redis> {
        let info = self.info()?;
        let label = label(&info);
        self.open(info, &label).map_err(|error| error.at(&label))
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

        let info = self.info()?;
        let label = label(&info);
        let speaking = |protocol| {
            let settings = info.redis_settings().clone().set_protocol(protocol);
            self.client(info.clone().set_redis_settings(settings)).map_err(|error| error.at(&label))
        };
        let (client, plain) = (speaking(ProtocolVersion::RESP3)?, speaking(ProtocolVersion::RESP2)?);
        let plain =
            Timed { client: plain, connect_timeout: self.connect_timeout, io_timeout: self.io_timeout };
        let limits = crate::aio::Limits { connect: self.connect_timeout, io: self.io_timeout };
        let (place, settings) = (&*label, self.settings.clone());
        let site = if self.fair { Site::queued(place, settings) } else { Site::new(place, settings) };
        let opened = crate::AsyncRedis::open(client, plain, site, limits, |tracks| self.dialect(tracks));
        opened.await.map_err(|error| error.at(&label))
    }

    fn open(self, info: ConnectionInfo, label: &str) -> Result<Redis> {
        let client = self.client(info)?;
        let timed = Timed { client, connect_timeout: self.connect_timeout, io_timeout: self.io_timeout };
        let transport = Pool::new(timed.clone(), self.pool_size, self.connect_timeout);
        let dialect = self.dialect(crate::backend::can_track(&transport)?);
        Ok(Redis::new(label, self.settings, Box::new(transport), Some(timed), dialect))
    }

    fn client(&self, info: ConnectionInfo) -> Result<Client> {
        within("connect_timeout", self.connect_timeout)?;
        within("io_timeout", self.io_timeout)?;
        if !(1..=10_000).contains(&self.pool_size) {
            return Err(Error::misconfigured(format!(
                "pool_size is {}; it must be 1 to 10000",
                self.pool_size
            )));
        }
        if self.settings.prefix().starts_with(MARK) {
            return Err(Error::misconfigured(format!(
                "the prefix begins with {MARK:?}, as the keys beside a lock do; choose another"
            )));
        }
        Client::open(info)
            .map_err(|source| Error::misconfigured("the URL cannot be used").with_source(source))
    }

    fn info(&self) -> Result<ConnectionInfo> {
        // A URL may hold a password, and so may the crate's own words about it.
        let bad = "this is no URL of a Redis server; write redis://[[user]:password@]host[:port][/database], \
                   rediss:// for TLS, or redis+unix:///path";
        let info = (&*self.url).into_connection_info().map_err(|_| Error::misconfigured(bad))?;
        if info.addr().is_supported() {
            return Ok(info);
        }
        Err(Error::misconfigured("this build has no TLS; add the feature `tls` of tenure-redis"))
    }

    fn dialect(&self, tracks: bool) -> Dialect {
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
            guard: self.guard.then(|| Guard::new(self.settings.prefix(), max_ttl)),
            queue: self.fair.then(|| Queue::new(self.settings.recheck())),
        }
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
