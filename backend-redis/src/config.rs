//! Opening a store: where the server is, and how long it may take.

use std::fmt;
use std::time::Duration;

use tenure_core::{Result, Settings};

use crate::acks::Acks;
use crate::backend::Redis;
use crate::choice::Choice;
use crate::plan::Plan;
use crate::profile::Profile;
use crate::tls::Trust;

/// How a store is to be opened; made by [`Redis::builder`].
#[derive(Clone)]
pub struct Builder {
    url: Box<str>,
    choice: Choice,
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
        Self { url: url.into(), choice: Choice::default(), trust: Trust::default() }
    }

    /// Sets the defaults of the store's locks.
    #[must_use]
    pub fn settings(self, settings: Settings) -> Self {
        Self { choice: Choice { settings, ..self.choice }, ..self }
    }

    /// Sets how long making a connection may take, 2 s by default, 10 ms to 60 s.
    #[must_use]
    pub fn connect_timeout(self, limit: Duration) -> Self {
        Self { choice: Choice { connect_timeout: limit, ..self.choice }, ..self }
    }

    /// Sets how long an answer may take, 2 s by default, 10 ms to 60 s. After that the connection is
    /// thrown away.
    #[must_use]
    pub fn io_timeout(self, limit: Duration) -> Self {
        Self { choice: Choice { io_timeout: limit, ..self.choice }, ..self }
    }

    /// Sets how many connections threads share, 16 by default, 1 to 10 000; one more listens while
    /// somebody waits.
    #[must_use]
    pub fn pool_size(self, size: u32) -> Self {
        Self { choice: Choice { pool_size: size, ..self.choice }, ..self }
    }

    /// Sets how waiters hear that a lock may be free; before the option `wake` of the URL, which is `auto`
    /// or `channel`.
    #[must_use]
    pub fn wake(self, wake: Wake) -> Self {
        Self { choice: Choice { wake: Some(wake), ..self.choice }, ..self }
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
    /// Not with [`fair`](Self::fair), which hands locks on without asking.
    ///
    /// Waiting holds up whatever else was sent on the same connection, so a missing replica makes
    /// an asynchronous store, which has one connection to each server, slow for all of its tasks.
    #[must_use]
    pub fn replicas(self, count: u32, within: Duration) -> Self {
        Self { choice: Choice { acks: Some(Acks { replicas: count, within }), ..self.choice }, ..self }
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
    /// The same as `?fair=1` in the URL.
    #[must_use]
    pub fn fair(self) -> Self {
        Self { choice: Choice { fair: Some(true), ..self.choice }, ..self }
    }

    /// Keeps all locks closed for the settings' `max_ttl` after the server was started or lost its data,
    /// until every lease from before has ended for sure. All who share the locks must choose it, with the
    /// same `max_ttl`.
    ///
    /// For servers that do not save every change before they answer, which forget leases when they crash.
    /// It costs no request, and some microseconds of the server with each acquire, in which it is asked which
    /// run of it this is; a user who may not ask (`INFO`) is granted nothing. Locks stay closed after every
    /// start of the server, the very first one and an orderly one included: so set a `max_ttl` that can be
    /// waited for. Until then who asks is `Quarantined`, with the time that is left; who waits is served after
    /// it. Not with sentinels and clusters: a master that was cut off goes on granting while its successor is
    /// closed. Other libraries that take the same locks do not heed it.
    ///
    /// The same as `?guard=1` in the URL.
    #[must_use]
    pub fn restart_guard(self) -> Self {
        Self { choice: Choice { guard: Some(true), ..self.choice }, ..self }
    }

    /// Sets whose locks the store's are to exclude, by how their keys and values look; before the
    /// option `profile` of the URL.
    #[must_use]
    pub fn profile(self, profile: Profile) -> Self {
        Self { choice: Choice { profile: Some(profile), ..self.choice }, ..self }
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
        Ok(Self { trust: Trust::from_file(file.as_ref())?, ..self })
    }

    /// Opens the store, and asks the server what it can do.
    ///
    /// # Errors
    ///
    /// `Misconfigured` for a URL or a setting that cannot work, or a user that may not do what locks
    /// need. `Unavailable` if the server does not answer.
    pub fn connect(self) -> Result<Redis> {
        let plan = self.plan()?;
        plan.open(plan.site())
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
        self.plan()?.open_async().await
    }

    /// What is to be opened, checked.
    pub(crate) fn plan(self) -> Result<Plan> {
        Plan::new(&self.url, self.choice, self.trust)
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A URL may hold a password.
        let plan = self.clone().plan();
        f.debug_struct("Builder")
            .field("store", &plan.as_ref().map_or("redis:", Plan::label))
            .field("settings", &self.choice.settings)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_builder_is_listened_to_before_the_url() {
        let prefix = |builder: Builder| {
            let plan = builder.plan().unwrap();
            (plan.site().settings().prefix().to_owned(), plan.site().settings().prefix().to_owned())
        };
        for place in ["redis://h", "redis+cluster://h,i", "redis+sentinel://h/m", "redis+unix:///s"] {
            let url = format!("{place}?profile=django:shop:2&fair=0");
            let once = "shop:2:lock:".to_owned();
            assert_eq!(prefix(Redis::builder(&url)), (once.clone(), once), "{url}");
            let plain = prefix(Redis::builder(&url).profile(Profile::Plain)).0;
            assert_eq!(plain, "", "{url}");
            // What is said is checked although something else is in force.
            let wrong = Redis::builder(&format!("{place}?profiel=plain")).profile(Profile::Plain).plan();
            assert!(wrong.is_err_and(|error| error.is_misconfigured()), "{place}");
            let fair = Redis::builder(&format!("{url}&wake=channel")).wake(Wake::Auto).fair().plan();
            let error = fair.map(drop).unwrap_err();
            assert!(error.is_misconfigured() && error.to_string().contains("fair()"), "{url}: {error}");
        }
    }

    #[test]
    fn what_a_url_says_of_waking_is_in_force_unless_the_builder_says_otherwise() {
        let channel = |builder: Builder| builder.plan().unwrap().dialect(true).channel;
        assert!(channel(Redis::builder("redis://h")).is_empty());
        assert_eq!(channel(Redis::builder("redis://h?wake=channel")), b"~n:lock:");
        assert!(channel(Redis::builder("redis://h?wake=channel").wake(Wake::Auto)).is_empty());
    }

    #[test]
    fn a_socket_is_spoken_to_as_its_options_say_and_a_host_as_its_url_does() {
        let shown = |url: &str| Redis::builder(url).plan().unwrap().label().to_owned();
        assert_eq!(shown("redis+unix:///tmp/s?db=3&user=me&pass=x"), "redis+unix:///tmp/s/3");
        assert_eq!(shown("redis://me:x@h/3?profile=plain"), "redis://h:6379/3");
    }
}

#[cfg(test)]
mod properties {
    use proptest::prelude::*;

    use super::*;
    use crate::{Quorum, QuorumBuilder};

    /// URLs with a password, many of which name a server, or several.
    fn urls() -> impl Strategy<Value = String> {
        let scheme = prop_oneof![
            1 => "rediss?",
            1 => "redis\\+unix|unix",
            1 => "[a-z+]{0,6}",
            4 => "rediss?\\+(cluster|sentinel)",
            1 => "rediss?\\+quorum",
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
            "[a-z]{1,5}(:[0-9]{1,6})?(/[0-9]{0,3})?(\\?(db|profile|wake)=[a-z0-9:]{0,6})?(#insecure)?",
            "[a-z]{1,5}(:[0-9]{1,4})?(,[a-z]{1,5}(:[0-9]{1,4})?){0,2}(/[a-z]{1,5})?(/[0-9]?)?(\\?fair=[01])?",
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
            let label = match url.contains("+quorum:") {
                true => Quorum::url(&url).and_then(QuorumBuilder::quorum).map(|quorum| format!("{quorum:?}")),
                false => builder.plan().map(|plan| plan.label().to_owned()),
            };
            shown += &label.unwrap_or_else(|error| format!("{error} {error:?}"));
            prop_assert!(!shown.contains("hunter2"), "{url}: {shown}");
        }
    }
}
