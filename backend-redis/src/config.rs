//! Opening a store: where the server is, and how long it may take.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use redis::{Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo};
use tenure_core::{Error, Result, Settings};

use crate::backend::Redis;
use crate::keys::MARK;
use crate::pool::Pool;
use crate::profile::Profile;
use crate::script::Dialect;
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
        Self {
            url: url.into(),
            settings: Settings::default(),
            connect_timeout: Duration::from_secs(2),
            io_timeout: Duration::from_secs(2),
            pool_size: 16,
            wake: Wake::Auto,
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
        let info = this.info()?;
        let label = label(&info);
        let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        let client = this.client(info.set_redis_settings(settings)).map_err(|error| error.at(&label))?;
        let limits = crate::aio::Limits { connect: this.connect_timeout, io: this.io_timeout };
        let settings = this.settings.clone();
        let opened = crate::AsyncRedis::open(client, &label, settings, limits, |tracks| this.dialect(tracks));
        opened.await.map_err(|error| error.at(&label))
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

    fn client(&self, info: ConnectionInfo) -> Result<Client> {
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
        if self.settings.prefix().starts_with(MARK) {
            return Err(Error::misconfigured(format!(
                "the prefix begins with {MARK:?}, as the keys beside a lock do; choose another"
            )));
        }
        Ok(())
    }

    #[cfg(feature = "r2d2_redis")]
    pub(crate) fn limits(&self) -> (Duration, Duration) {
        (self.connect_timeout, self.io_timeout)
    }

    #[cfg(feature = "r2d2_redis")]
    pub(crate) fn into_settings(self) -> Settings {
        self.settings
    }

    fn info(&self) -> Result<ConnectionInfo> {
        if tls::is_asked_for(&self.url) && !cfg!(feature = "tls") {
            return Err(tls::missing());
        }
        url::profile(&self.url)?;
        if url::is_torn(&self.url) {
            return Err(Error::misconfigured(
                "there is an @ where none belongs; in a user or a password write / as %2F, ? as %3F and # as %23, \
                 and give those of a socket as options, ?user=..&pass=..",
            ));
        }
        // A URL may hold a password, and so may the crate's own words about it.
        let bad = "this is no URL of a Redis server; write redis://[[user]:password@]host[:port][/database], \
                   rediss:// for TLS, or redis+unix:///path";
        (&*self.url).into_connection_info().map_err(|_| Error::misconfigured(bad))
    }

    pub(crate) fn dialect(&self, tracks: bool) -> Dialect {
        let tracks = tracks && self.wake == Wake::Auto;
        let channel =
            if tracks { Vec::new() } else { format!("{MARK}n:{}", self.settings.prefix()).into_bytes() };
        let max_ttl = self.settings.max_ttl().get();
        Dialect {
            fence_life: Duration::from_secs(24 * 3600).max(max_ttl * 2),
            channel,
            patience: self.settings.recheck() * 2,
            note_life: max_ttl * 2,
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
mod properties {
    use proptest::prelude::*;

    use super::*;

    /// URLs with a password, many of which name a server.
    fn urls() -> impl Strategy<Value = String> {
        let scheme = prop_oneof!["redis", "rediss", "redis\\+unix", "unix", "[a-z+]{0,6}"];
        let slashes = prop_oneof!["://", ":", "//", ":///"];
        let secret = prop_oneof!["hunter2", "[!-~]{0,4}hunter2[!-~]{0,4}", "\\PC{0,3}hunter2\\PC{0,3}"];
        let user = prop_oneof!["", "[a-z]{1,3}", "%[0-9a-f]{1,2}"];
        let rest = prop_oneof![
            "[a-z]{1,5}(:[0-9]{1,6})?(/[0-9]{0,3})?(\\?(db|protocol|profile)=[a-z0-9:]{0,6})?(#insecure)?",
            "\\PC{0,12}",
        ];
        (scheme, slashes, user, secret, rest, 0..5).prop_map(|(scheme, slashes, user, secret, rest, form)| {
            match form {
                0 => format!("{scheme}{slashes}{user}:{secret}@{rest}"),
                1 => format!("{scheme}{slashes}{secret}@{rest}"),
                2 => format!("{scheme}:///tmp/s?user={user}&pass={secret}&{rest}"),
                3 => format!("{scheme}://{rest}?pass={secret}"),
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
                let info = builder.info()?;
                shown += &label(&info);
                builder.client(info).map_err(|error| error.at(&shown))
            });
            if let Err(error) = made {
                shown += &format!("{error} {error:?}");
            }
            prop_assert!(!shown.contains("hunter2"), "{url}: {shown}");
        }
    }
}
