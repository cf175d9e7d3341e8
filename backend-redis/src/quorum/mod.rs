//! Locks on several independent servers, held by whoever a majority of them grants it to.

mod aio;
mod ask;
mod backend;
mod config;
mod course;
mod gather;
mod inspect;
mod node;
mod queue;
#[cfg(test)]
mod simulation;
mod tally;
mod tasks;

use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tenure_core::{Result, Site};

use crate::keys::Keys;
use ask::Ask;
use gather::{Ballot, Gather, Patience, Vote, gather};
use node::Node;
use tasks::Tasks;

pub use config::QuorumBuilder;

/// Locks in several independent Redis or Valkey servers, for threads and for tasks.
///
/// Three, five, seven or nine servers that know nothing of each other are asked in parallel, and the lock is
/// held by whoever a majority of them grants it to. As long as a majority answers, everything goes on: a
/// server that is down, hangs or is slow is not waited for. This is the algorithm called Redlock, with a
/// fence.
///
/// A cheap handle; clones share threads, connections and everything else. It is a store for asynchronous code
/// too, under any runtime: one thread for each server speaks to it, for threads and tasks alike, and sends in
/// one go what they have asked for meanwhile.
///
/// ```no_run
/// use tenure_core::Lock;
/// use tenure_redis::Quorum;
///
/// let store = Quorum::connect("redis+quorum://a.example:6379,b.example:6379,c.example:6379")?;
/// let held = Lock::new(&store, "nightly report").try_acquire()?;
/// held.release()?;
/// # Ok::<(), tenure_core::Error>(())
/// ```
///
/// # How it works
///
/// An acquire asks all servers at once. If a majority grants it, the largest of their fences is written back
/// to a majority before success is reported. The next majority has a server in common with this one, so its
/// fence is larger, however far apart the servers' clocks are and whichever minority fails. (Taking the
/// largest fence without writing it back is not enough.) The lease counts from when the requests went out.
/// What a minority granted is released again, on servers too whose answer did not come; those that are down
/// are told when they are back, unless the lease ended before. Each attempt has a number, and what undoes one
/// leaves later ones alone, however late or often it comes.
///
/// If several ask at once and none gets a majority, the one that has the first of the servers keeps what it
/// has and asks again; the others give way and come again a random while later. A renewal that a majority
/// confirms also takes the lock on servers that lack it, because they were down before or have lost their
/// data: so servers can be restarted one after the other while a lock is held.
///
/// A waiter is told by every server that can tell it of changes. A request that fails keeps a server from
/// being asked for 50 ms, and longer, up to 1 s, if it goes on failing.
///
/// # What it gives, and what it does not
///
/// * *Available* while a majority of the servers answers: one of three, two of five may fail. Otherwise
///   everything is `Unavailable` within the time limits, never contended.
/// * *Exclusive* as long as no server forgets a lock that it granted, and no server's clock runs ahead by a
///   lease within a lease.
/// * *Fence-only* otherwise. A server that crashes and starts without its data votes again for anybody: with
///   three servers, A held by 1 and 2 and a restart of 2 is enough for B to be granted the lock by 2 and 3. Let
///   servers keep their data (`appendonly yes`, `appendfsync always`), or let a
///   [guard](QuorumBuilder::restart_guard) keep a server that was started out of votes until the longest lease
///   ([`max_ttl`](tenure_core::Settings::max_ttl)) has passed. A clock that is set
///   forward ends leases early on its server; it takes a majority of such servers to end a lock.
/// * Fences grow from grant to grant, unless a majority of the servers loses its data *and* the clocks are
///   behind the last fence.
///
/// A single server that writes all to disk gives the same exclusion, at half the round trips, and with shared
/// locks and permits, which a quorum does not have. Its price is that nothing works while it is down. Where
/// correctness hangs on the lock, compare fences at what it protects, with either. A replica of one server is
/// no member of a quorum, and a quorum of servers on one host protects from nothing.
///
/// # What to know
///
/// * All who share the locks name the same servers, each once.
/// * An acquire takes two round trips, a denied one, a renewal and a release take one.
/// * The time limit of a server ([`QuorumBuilder::node_timeout`], 500 ms) belongs well below the lease; where
///   leases are short, lower it.
/// * A request that the network delays beyond the time limit can be carried out late. An acquire of which
///   nobody knows any more then blocks its server for a lease at most.
/// * What a server holds for an owner that has no majority counts as nobody's in
///   [`inspect`](tenure_core::Inspect::inspect) and [`list`](tenure_core::Inspect::list), which show a name as
///   long as no majority of the servers is free; a server that does not answer is not free. Where less than
///   a majority agree on a fence, as when one that has it is down, they show the largest. A
///   [`force_release`](tenure_core::Inspect::force_release) needs a majority, too.
#[derive(Clone)]
pub struct Quorum(Arc<Inner>);

struct Inner {
    site: Site,
    nodes: Box<[Node]>,
    tasks: Tasks,
}

/// What is kept of a grant: what became of its release so far, by server.
#[derive(Debug, Default)]
pub struct QuorumGrant {
    /// Those that said that they released it.
    released: AtomicU32,
    /// Those that were asked to and gave no answer, so that later they may not have it any more.
    asked: AtomicU32,
}

impl Quorum {
    /// Opens the store that a URL names: `redis+quorum://[[user]:password@]host[:port],host[:port],..
    /// [/database]`, with one user, password and database for all servers. Options behind a `?` are those of
    /// [`Redis::connect`](crate::Redis::connect), without `fair`.
    ///
    /// # Errors
    ///
    /// As [`QuorumBuilder::connect`].
    pub fn connect(url: &str) -> Result<Self> {
        Self::url(url)?.connect()
    }

    /// As [`builder`](Self::builder), of the servers that a URL of the scheme `redis+quorum`, or `rediss+quorum`
    /// for TLS, names.
    ///
    /// # Errors
    ///
    /// `Misconfigured` if it is no such URL.
    pub fn url(url: &str) -> Result<QuorumBuilder> {
        QuorumBuilder::of(url)
    }

    /// Opens a store over servers that are named by URLs as for [`Redis::connect`](crate::Redis::connect), one
    /// server each. Their options are the builder's, so that all have the same; a socket keeps `user`, `pass`
    /// and `db`.
    #[must_use]
    pub fn builder<U: AsRef<str>>(urls: impl IntoIterator<Item = U>) -> QuorumBuilder {
        QuorumBuilder::new(urls.into_iter().map(|url| url.as_ref().into()).collect())
    }

    /// Whether a key can be that of a lock.
    ///
    /// # Errors
    ///
    /// `InvalidName` if it looks like what lies beside another lock.
    fn check(key: &str) -> Result<()> {
        Keys::checked(key).map(drop)
    }

    fn nodes(&self) -> &[Node] {
        &self.0.nodes
    }

    /// How many make a majority.
    fn majority(&self) -> usize {
        self.nodes().len() / 2 + 1
    }

    /// Asks all servers, and collects their answers.
    fn ask_all<T: Vote>(&self, patience: Patience, ask: impl Fn(Ballot<T>) -> Ask) -> Gather<T> {
        let (answers, ballots) = gather(self.nodes().len(), self.majority(), patience);
        self.nodes().iter().zip(ballots).for_each(|(node, ballot)| node.ask(ask(ballot)));
        answers
    }
}

impl QuorumGrant {
    fn is_in(set: &AtomicU32, server: usize) -> bool {
        set.load(Ordering::Relaxed) & (1 << server) != 0
    }

    fn add(set: &AtomicU32, server: usize) {
        set.fetch_or(1 << server, Ordering::Relaxed);
    }
}

/// A random fraction in `0.0..1.0`.
fn chance() -> f64 {
    // Each of these hashes in a way of its own.
    let bits = RandomState::new().build_hasher().finish() >> 11;
    bits as f64 / (1_u64 << 53) as f64
}

impl fmt::Debug for Quorum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Quorum").field("store", &self.0.site.label()).finish_non_exhaustive()
    }
}
