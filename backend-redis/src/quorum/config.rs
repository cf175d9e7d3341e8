//! Opening a quorum: which servers, and how long each may take.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tenure_core::aio::block_on;
use tenure_core::{Error, Result, Settings};

use super::ask::Ask;
use super::gather::Patience;
use super::node::Node;
use super::tally::unanswered;
use super::tasks::Tasks;
use super::{Inner, Quorum};
use crate::Wake;
use crate::choice::{self, Choice};
use crate::plan::Plan;
use crate::profile::Profile;
use crate::tls::Trust;
use crate::together::Part;
use crate::url::{self, Options};

/// How a quorum is to be opened; made by [`Quorum::builder`].
#[derive(Clone)]
pub struct QuorumBuilder {
    urls: Vec<Box<str>>,
    /// What the URL of all of them says.
    said: Options,
    choice: Choice,
    node_timeout: Duration,
    trust: Trust,
}

/// How many connections to a server there may be: one for locks, others for looking at them.
const CONNECTIONS: u32 = 4;

impl QuorumBuilder {
    pub(super) fn new(urls: Vec<Box<str>>) -> Self {
        Self {
            urls,
            said: Options::default(),
            choice: Choice::default(),
            node_timeout: Duration::from_millis(500),
            trust: Trust::default(),
        }
    }

    /// As [`new`](Self::new), of the servers that a URL of all of them names.
    ///
    /// # Errors
    ///
    /// `Misconfigured` if it is no such URL.
    pub(super) fn of(url: &str) -> Result<Self> {
        let urls = urls(url)?.into_iter().map(String::into_boxed_str).collect();
        Ok(Self { said: url::options(url)?, ..Self::new(urls) })
    }

    /// Sets the defaults of the store's locks.
    #[must_use]
    pub fn settings(self, settings: Settings) -> Self {
        Self { choice: Choice { settings, ..self.choice }, ..self }
    }

    /// Sets how long making a connection to a server may take, and how long its answer, 500 ms by default,
    /// 10 ms to 60 s. Only a server without which there is no majority is waited for that long. It
    /// belongs well below the shortest lease.
    #[must_use]
    pub fn node_timeout(self, limit: Duration) -> Self {
        Self { node_timeout: limit, ..self }
    }

    /// Sets how waiters hear that a lock may be free; before the option `wake` of the URL, which is `auto`
    /// or `channel`.
    #[must_use]
    pub fn wake(self, wake: Wake) -> Self {
        Self { choice: Choice { wake: Some(wake), ..self.choice }, ..self }
    }

    /// Keeps a server closed for the settings' `max_ttl` after it was started or lost its data, as
    /// [`Builder::restart_guard`](crate::Builder::restart_guard) does; the others go on meanwhile. All who share
    /// the locks must choose it, with the same `max_ttl`.
    ///
    /// So a server that forgets when it crashes does not vote again for anybody as long as a lease that it may
    /// have granted lasts, and locks stay exclusive. When a majority was started, all locks are closed: who asks
    /// is `Quarantined`.
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

    /// Sets who is trusted to say that a server is the one that its URL names, as
    /// [`Builder::authorities`](crate::Builder::authorities) does.
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

    /// Opens the store. A majority of the servers must answer; the others are spoken to when they are there.
    ///
    /// # Errors
    ///
    /// `Misconfigured` for a number of servers other than 3, 5, 7 or 9, for one that is named twice, for a
    /// setting that cannot work, before anybody is spoken to; and as
    /// [`Builder::connect`](crate::Builder::connect) for each of them. `Unavailable` if no majority answers.
    pub fn connect(self) -> Result<Quorum> {
        block_on(self.connect_async())
    }

    /// As [`connect`](Self::connect), for asynchronous code, under any runtime.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    ///
    /// # Cancel safety
    ///
    /// Dropped half-way, it has opened nothing that stays open.
    pub async fn connect_async(self) -> Result<Quorum> {
        let quorum = self.quorum()?;
        let opened = quorum.open().await;
        opened.map_err(|error| error.at(quorum.0.site.label()))?;
        Ok(quorum)
    }

    /// The store, before it has spoken to anybody.
    pub(crate) fn quorum(self) -> Result<Quorum> {
        if !matches!(self.urls.len(), 3 | 5 | 7 | 9) {
            return Err(Error::misconfigured(format!(
                "a quorum of {} servers; it has 3, 5, 7 or 9, and a single server is opened as `Redis`",
                self.urls.len()
            )));
        }
        choice::within("node_timeout", self.node_timeout)?;
        let choice = Choice {
            connect_timeout: self.node_timeout,
            io_timeout: self.node_timeout,
            pool_size: CONNECTIONS,
            ..self.choice
        };
        let chosen = choice.or(self.said).with(Part::Quorum)?;
        let member = |url: &str| Plan::member(url, chosen.clone(), self.trust.clone());
        let mut servers = self.urls.iter().map(|url| member(url)).collect::<Result<Vec<Plan>>>()?;
        // In one order for all, whoever names them in which: the first one settles split votes.
        servers.sort_by(|one, other| one.label().cmp(other.label()));
        if servers.windows(2).any(|pair| pair[0].label() == pair[1].label()) {
            return Err(Error::misconfigured("a server is named twice, and would have two votes"));
        }
        let one =
            if servers.iter().all(|plan| plan.label().starts_with("rediss:")) { "rediss" } else { "redis" };
        let prefix = format!("{one}://");
        let name = |plan: &Plan| plan.label().trim_start_matches(&prefix).to_owned();
        let names: Vec<String> = servers.iter().map(name).collect();
        let site = chosen.site(&format!("{one}+quorum://{}", names.join(",")));
        let nodes = servers.into_iter().map(|plan| Node::new(plan, site.clone())).collect();
        Ok(Quorum(Arc::new(Inner { site, nodes, tasks: Tasks::default() })))
    }
}

impl Quorum {
    /// Connects to the servers, and sees whether they are as many as it seems.
    async fn open(&self) -> Result<()> {
        let votes = self.ask_all(Patience::All, |ballot| Ask::Identify { ballot }).await;
        let mut seen = HashSet::new();
        if votes.iter().flatten().flatten().filter(|id| !id.is_empty()).any(|id| !seen.insert(id)) {
            return Err(Error::misconfigured(
                "two of the URLs lead to one server, which would have two votes",
            ));
        }
        let answered = votes.iter().flatten().filter(|vote| vote.is_ok()).count();
        let is_misconfigured = |vote: &Result<String>| vote.as_ref().is_err_and(Error::is_misconfigured);
        match answered < self.majority() || votes.iter().flatten().any(is_misconfigured) {
            true => Err(unanswered(&votes, self.majority())),
            false => Ok(()),
        }
    }
}

/// The URLs of the servers that a URL of a quorum names.
pub(super) fn urls(url: &str) -> Result<Vec<String>> {
    let bad = || {
        Error::misconfigured(
            "this is no URL of a quorum; write redis+quorum://[[user]:password@]host[:port],host[:port],..[/database], \
             or rediss+quorum:// for TLS",
        )
    };
    let (one, rest) = match url.split_once("://") {
        Some(("redis+quorum", rest)) => ("redis", rest),
        Some(("rediss+quorum", rest)) => ("rediss", rest),
        _ => return Err(bad()),
    };
    url::intact(url)?;
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let (user, servers) = url::credentials(authority)?;
    let user = user.map(|user| format!("{user}@")).unwrap_or_default();
    if servers.split(',').any(str::is_empty) {
        return Err(bad());
    }
    Ok(servers.split(',').map(|server| format!("{one}://{user}{server}{path}")).collect())
}

impl std::fmt::Debug for QuorumBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The URLs may hold passwords.
        f.debug_struct("QuorumBuilder")
            .field("servers", &self.urls.len())
            .field("settings", &self.choice.settings)
            .field("node_timeout", &self.node_timeout)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_servers_with_one_user_and_database() {
        assert_eq!(
            urls("redis+quorum://me:p%40ss@a,b:1,[::1]:2/3").unwrap(),
            ["redis://me:p%40ss@a/3", "redis://me:p%40ss@b:1/3", "redis://me:p%40ss@[::1]:2/3"]
        );
        assert_eq!(urls("redis+quorum://a,b,c").unwrap(), ["redis://a", "redis://b", "redis://c"]);
        assert_eq!(
            urls("rediss+quorum://a,b,c/1").unwrap(),
            ["rediss://a/1", "rediss://b/1", "rediss://c/1"]
        );
        for bad in [
            "redis+quorum://",
            "redis+quorum://a,,b",
            "redis+quorum:a",
            "redis://a,b,c",
            "redis+quorum://me:p@ss@a,b,c",
            "redis+quorum://me:p/ss@a,b,c",
            "redis+quorum://me:p@a,me:p@b,me:p@c",
        ] {
            assert!(urls(bad).is_err_and(|error| error.is_misconfigured()), "{bad}");
        }
    }

    #[test]
    fn options_are_those_of_the_whole_quorum_and_in_force_or_an_error() {
        let opened = |url: &str| Quorum::url(url).and_then(QuorumBuilder::quorum);
        let prefix = |url: &str| opened(url).unwrap().0.site.settings().prefix().to_owned();
        assert_eq!(prefix("redis+quorum://a,b,c"), "lock:");
        assert_eq!(prefix("redis+quorum://a,b,c/?profile=plain&guard=1&wake=channel"), "");
        assert_eq!(prefix("redis+quorum://a,b,c?profile=django:x:1&fair=0"), "x:1:lock:");
        for (url, word) in [
            ("redis+quorum://a,b,c?fair=1", "fair()"),
            ("redis+quorum://a,b,c?profiel=plain", "none of profile"),
            ("redis+quorum://a,b,c?db=1", "those of a socket"),
            ("redis+quorum://a,b,c/1#x", "%23"),
        ] {
            let error = opened(url).expect_err(url);
            assert!(error.is_misconfigured() && error.to_string().contains(word), "{url}: {error}");
        }
        let sockets = ["unix:/a?db=1", "unix:/b", "unix:/c?user=me&pass=x"];
        assert!(Quorum::builder(sockets).quorum().is_ok());
        let error = Quorum::builder(["redis://a?guard=1", "redis://b", "redis://c"]).quorum().unwrap_err();
        assert!(error.is_misconfigured() && error.to_string().contains("leave them out"), "{error}");
    }

    #[test]
    fn what_makes_no_sense_is_refused_before_anything_is_opened() {
        for count in [0, 1, 2, 4, 8, 10, 11] {
            let urls: Vec<_> = (0..count).map(|port| format!("redis://127.0.0.1:{}", port + 1)).collect();
            let error = Quorum::builder(urls).connect().unwrap_err();
            assert!(error.is_misconfigured(), "{count}: {error}");
        }
        for limit in [Duration::ZERO, Duration::from_secs(61)] {
            let late = Quorum::url("redis+quorum://a,b,c").unwrap().node_timeout(limit).quorum().unwrap_err();
            assert!(late.is_misconfigured() && late.to_string().contains("node_timeout"), "{late}");
        }
        let twice = ["redis://127.0.0.1:1", "redis://:secret@127.0.0.1:1", "redis://127.0.0.1:2"];
        let error = Quorum::builder(twice).connect().unwrap_err();
        assert!(error.is_misconfigured() && !format!("{error:?}").contains("secret"), "{error:?}");
    }
}
