//! Opening a quorum: which servers, and how long each may take.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tenure_core::aio::block_on;
use tenure_core::{Error, Result, Settings, Site};

use super::ask::Ask;
use super::gather::Patience;
use super::node::Node;
use super::tally::unanswered;
use super::tasks::Tasks;
use super::{Inner, Quorum};
use crate::{Redis, Wake, url};

/// How a quorum is to be opened; made by [`Quorum::builder`].
#[derive(Clone)]
pub struct QuorumBuilder {
    urls: Vec<Box<str>>,
    settings: Settings,
    node_timeout: Duration,
    wake: Wake,
}

/// How many connections to a server there may be: one for locks, others for looking at them.
const CONNECTIONS: u32 = 4;

impl QuorumBuilder {
    pub(super) fn new(urls: Vec<Box<str>>) -> Self {
        let node_timeout = Duration::from_millis(500);
        Self { urls, settings: Settings::default(), node_timeout, wake: Wake::default() }
    }

    /// Sets the defaults of the store's locks.
    #[must_use]
    pub fn settings(self, settings: Settings) -> Self {
        Self { settings, ..self }
    }

    /// Sets how long making a connection to a server may take, and how long its answer, 500 ms by default,
    /// 10 ms to 60 s. Only a server without which there is no majority is waited for that long. It
    /// belongs well below the shortest lease.
    #[must_use]
    pub fn node_timeout(self, limit: Duration) -> Self {
        Self { node_timeout: limit, ..self }
    }

    /// Sets how waiters hear that a lock may be free.
    #[must_use]
    pub fn wake(self, wake: Wake) -> Self {
        Self { wake, ..self }
    }

    /// Opens the store. A majority of the servers must answer; the others are spoken to when they are there.
    ///
    /// # Errors
    ///
    /// `Misconfigured` for a number of servers other than 3, 5, 7 or 9, for one that is named twice, and as
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
    fn quorum(self) -> Result<Quorum> {
        if !matches!(self.urls.len(), 3 | 5 | 7 | 9) {
            return Err(Error::misconfigured(format!(
                "a quorum of {} servers; it has 3, 5, 7 or 9, and a single server is opened as `Redis`",
                self.urls.len()
            )));
        }
        let builder = |url: &str| {
            let builder = Redis::builder(url).settings(self.settings.clone()).wake(self.wake);
            builder.connect_timeout(self.node_timeout).io_timeout(self.node_timeout).pool_size(CONNECTIONS)
        };
        let mut servers = Vec::new();
        for url in &self.urls {
            let builder = builder(url);
            servers.push((builder.label()?, builder));
        }
        // In one order for all, whoever names them in which: the first one settles split votes.
        servers.sort_by(|(one, _), (other, _)| one.cmp(other));
        if servers.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            return Err(Error::misconfigured("a server is named twice, and would have two votes"));
        }
        let names: Vec<&str> =
            servers.iter().map(|(label, _)| label.strip_prefix("redis://").unwrap_or(label)).collect();
        let site = Site::new(format!("redis+quorum://{}", names.join(",")), self.settings.clone());
        let node = |(label, builder): (String, _)| Node::new(label.into(), builder, site.clone());
        let nodes = servers.into_iter().map(node).collect();
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
            "this is no URL of a quorum; write redis+quorum://[[user]:password@]host[:port],host[:port],..[/database]",
        )
    };
    let rest = url.strip_prefix("redis+quorum://").ok_or_else(bad)?;
    url::intact(url)?;
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let (user, servers) = url::credentials(authority)?;
    let user = user.map(|user| format!("{user}@")).unwrap_or_default();
    if servers.split(',').any(str::is_empty) {
        return Err(bad());
    }
    Ok(servers.split(',').map(|server| format!("redis://{user}{server}{path}")).collect())
}

impl std::fmt::Debug for QuorumBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The URLs may hold passwords.
        f.debug_struct("QuorumBuilder")
            .field("servers", &self.urls.len())
            .field("settings", &self.settings)
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
    fn a_number_of_servers_that_makes_no_sense_is_refused_before_anything_is_opened() {
        for count in [0, 1, 2, 4, 8, 10, 11] {
            let urls: Vec<_> = (0..count).map(|port| format!("redis://127.0.0.1:{}", port + 1)).collect();
            let error = Quorum::builder(urls).connect().unwrap_err();
            assert!(error.is_misconfigured(), "{count}: {error}");
        }
        let twice = ["redis://127.0.0.1:1", "redis://:secret@127.0.0.1:1", "redis://127.0.0.1:2"];
        let error = Quorum::builder(twice).connect().unwrap_err();
        assert!(error.is_misconfigured() && !format!("{error:?}").contains("secret"), "{error:?}");
    }
}
