//! Opening a store: where the servers are, and how long they may take.

use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

use tenure_core::{Error, Result, Settings};

use crate::backend::Memcached;
use crate::dialect::{Dialect, no_numbers};
use crate::placement::Placement;
use crate::profile::Profile;
use crate::record::LONGEST;
use crate::stats;
use crate::url::Url;

/// How a store is to be opened; made by [`Memcached::builder`].
#[derive(Clone)]
pub struct Builder {
    url: Box<str>,
    settings: Settings,
    limits: Limits,
    pool_size: u32,
    profile: Option<Profile>,
    placement: Option<Placement>,
    quarantine: Option<bool>,
}

/// How long things may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) connect: Duration,
    pub(crate) io: Duration,
}

impl Builder {
    pub(crate) fn new(url: &str) -> Self {
        let limit = Duration::from_secs(2);
        Self {
            url: url.into(),
            settings: Settings::default(),
            limits: Limits { connect: limit, io: limit },
            pool_size: 16,
            profile: None,
            placement: None,
            quarantine: None,
        }
    }

    /// Sets the defaults of the store's locks.
    #[must_use]
    pub fn settings(self, settings: Settings) -> Self {
        Self { settings, ..self }
    }

    /// Sets how long making a connection may take, 2 s by default, 10 ms to 60 s.
    #[must_use]
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.limits.connect = limit;
        self
    }

    /// Sets how long an answer may take, 2 s by default, 10 ms to 60 s. After that the connection is
    /// thrown away.
    #[must_use]
    pub fn io_timeout(mut self, limit: Duration) -> Self {
        self.limits.io = limit;
        self
    }

    /// Sets how many connections to a server threads share, 16 by default, 1 to 10 000.
    #[must_use]
    pub fn pool_size(self, size: u32) -> Self {
        Self { pool_size: size, ..self }
    }

    /// Sets whose locks the store's are to exclude, by how their keys and values look; before the
    /// option `profile` of the URL.
    #[must_use]
    pub fn profile(self, profile: Profile) -> Self {
        Self { profile: Some(profile), ..self }
    }

    /// Sets which of several servers has a lock; before the option `placement` of the URL.
    #[must_use]
    pub fn placement(self, placement: Placement) -> Self {
        Self { placement: Some(placement), ..self }
    }

    /// Grants locks although the server may just have forgotten some.
    ///
    /// By default nothing is granted while a lease may be believed in that the server forgot: for the
    /// settings' `max_ttl` after it was started, was flushed or has evicted what tells that it was not. Until
    /// then who asks is [`Quarantined`](tenure_core::Kind::Quarantined), with the time that is left; who
    /// waits is served after it. A server that has run for longer than that opens at once.
    ///
    /// Without this a restart can grant a lock twice, and only a comparison of fences where the lock takes
    /// effect keeps the first holder's writes out. It may be right for locks that merely save work. All who
    /// share the locks should choose alike.
    ///
    /// The same as `?quarantine=off` at the end of the URL.
    #[must_use]
    pub fn without_quarantine(self) -> Self {
        Self { quarantine: Some(false), ..self }
    }

    /// Opens the store, and asks the servers what they can do.
    ///
    /// # Errors
    ///
    /// `Misconfigured` for a URL or a setting that cannot work, and for a server that is too old or does not
    /// number changes (`-C`). `Unavailable` if a server does not answer.
    pub fn connect(self) -> Result<Memcached> {
        let plan = self.plan()?;
        plan.check_servers().map_err(|error| error.at(&plan.label))?;
        Ok(Memcached::new(plan))
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
    pub async fn connect_async(self) -> Result<crate::AsyncMemcached> {
        crate::AsyncMemcached::open(self.plan()?).await
    }

    /// What is to be opened, as far as can be told without the servers.
    fn plan(self) -> Result<Plan> {
        let url = Url::read(&self.url)?;
        let profile = self.profile.or(url.profile).unwrap_or_default();
        let settings = profile.applied(self.settings)?;
        within("connect_timeout", self.limits.connect)?;
        within("io_timeout", self.limits.io)?;
        if !(1..=10_000).contains(&self.pool_size) {
            let size = self.pool_size;
            return Err(Error::misconfigured(format!("pool_size is {size}; it must be 1 to 10000")));
        }
        if settings.max_ttl().get() > LONGEST {
            return Err(Error::misconfigured(format!(
                "max_ttl is {:?}; memcached takes 30 days for a date, so set it to {LONGEST:?} or less",
                settings.max_ttl().get()
            )));
        }
        let placement = self.placement.or(url.placement).unwrap_or_default();
        let waits_out = self.quarantine.or(url.quarantine).unwrap_or(true);
        let longest = waits_out.then(|| settings.max_ttl().get());
        let label = format!("memcache://{}", url.servers.join(","));
        let dialect = Dialect::new(profile.form(), placement, url.servers, longest);
        Ok(Plan { label, settings, limits: self.limits, pool_size: self.pool_size, dialect })
    }
}

/// What is to be opened.
pub(crate) struct Plan {
    pub(crate) label: String,
    pub(crate) settings: Settings,
    pub(crate) limits: Limits,
    pub(crate) pool_size: u32,
    pub(crate) dialect: Dialect,
}

impl Plan {
    /// Whether all servers can keep locks.
    pub(crate) fn check_servers(&self) -> Result<()> {
        self.dialect.servers.iter().try_for_each(|server| check_server(server, self.limits))
    }
}

pub(crate) fn check_server(server: &str, limits: Limits) -> Result<()> {
    if !is_one(server.to_socket_addrs().into_iter().flatten()) {
        return Err(Error::misconfigured(format!(
            "{server} has several addresses, which may be several servers; name each of them in the URL, so that \
             every lock has one place",
        )));
    }
    if !stats::ask(server, "mn", limits)?.starts_with("MN") {
        let version = stats::ask(server, "version", limits)?;
        let version = version.trim().trim_start_matches("VERSION ");
        return Err(Error::misconfigured(format!(
            "{server} knows no meta commands (it says {version:?}); run memcached 1.6.18 or later, and no proxy \
             before it",
        )));
    }
    match stats::stats(server, "settings", limits)?.says("cas_enabled") {
        Some("no") => Err(no_numbers()),
        _ => Ok(()),
    }
}

/// Whether these are the addresses of one server, which may have one of each kind.
fn is_one(addresses: impl Iterator<Item = SocketAddr>) -> bool {
    let (mut four, mut six): (Vec<SocketAddr>, Vec<SocketAddr>) = addresses.partition(SocketAddr::is_ipv4);
    four.dedup();
    six.dedup();
    four.len() <= 1 && six.len() <= 1
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let servers = Url::read(&self.url).map(|url| url.servers).unwrap_or_default();
        f.debug_struct("Builder")
            .field("servers", &servers)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_several_servers_is_told_from_one_of_two_kinds_of_addresses() {
        let addresses = |texts: &[&str]| {
            let read: Vec<SocketAddr> = texts.iter().map(|text| text.parse().unwrap()).collect();
            is_one(read.into_iter())
        };
        assert!(addresses(&["10.0.0.1:5"]) && addresses(&["[::1]:5", "127.0.0.1:5"]) && addresses(&[]));
        assert!(addresses(&["10.0.0.1:5", "10.0.0.1:5"]));
        assert!(!addresses(&["10.0.0.1:5", "10.0.0.2:5"]) && !addresses(&["[::1]:5", "[::2]:5"]));
    }
}
