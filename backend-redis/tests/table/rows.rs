//! How configurations are started, and stores of them opened.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tenure_core::{Result, Settings};
use tenure_redis::{Builder, Quorum, QuorumBuilder, Redis};
use tenure_servers::{self as servers, Outcome, Proxy, Stop};

use crate::store::Store;

pub(crate) use crate::topology::{cluster, majority, majority_failing, sentinels};

/// How long an attempt to connect, and an answer, may take.
const CONNECT: Duration = Duration::from_millis(300);
pub(crate) const ANSWER: Duration = Duration::from_millis(400);

/// How often waiters look again, however little they hear.
const RECHECK: Duration = Duration::from_millis(500);

/// What stands between clients and servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Road {
    /// Nothing.
    Direct,
    /// A proxy in front of each server.
    Proxied,
}

/// A running configuration, as those see it who make it fail.
pub(crate) trait Stage: Send {
    /// Where it is: what a store is opened with.
    fn place(&self) -> String;

    /// The servers that a fault comes over: those which grant now.
    fn victims(&mut self) -> Vec<&mut servers::Redis>;

    /// Whether nothing can be granted while the victims are down.
    fn is_down_with_them(&self) -> bool {
        true
    }

    /// The proxies, if the road has some.
    fn proxies(&self) -> Vec<&Proxy>;

    /// Loses the master with the latest that it said, and promotes a replica.
    fn promote(&mut self) -> Outcome {
        Err(Stop::failed("there is no replica"))
    }
}

/// One server.
struct Single {
    server: servers::Redis,
    proxy: Option<Proxy>,
}

pub(crate) fn memory(road: Road) -> Outcome<Box<dyn Stage>> {
    single(road, &[])
}

pub(crate) fn disk(road: Road) -> Outcome<Box<dyn Stage>> {
    single(road, &["--appendonly", "yes", "--appendfsync", "always"])
}

fn single(road: Road, options: &[&str]) -> Outcome<Box<dyn Stage>> {
    let server = servers::Redis::with(options)?;
    let proxy = if road == Road::Proxied { Some(Proxy::to(server.port())?) } else { None };
    Ok(Box::new(Single { server, proxy }))
}

impl Stage for Single {
    fn place(&self) -> String {
        self.proxy.as_ref().map_or_else(|| self.server.url(), Proxy::url)
    }

    fn victims(&mut self) -> Vec<&mut servers::Redis> {
        vec![&mut self.server]
    }

    fn proxies(&self) -> Vec<&Proxy> {
        self.proxy.iter().collect()
    }
}

/// A master and a replica. Clients find the one that is master behind a proxy, as behind an address that
/// moves.
struct Pair {
    master: servers::Redis,
    replica: servers::Redis,
    proxy: Proxy,
}

pub(crate) fn replicated(_: Road) -> Outcome<Box<dyn Stage>> {
    let at_once = ["--repl-diskless-sync-delay", "0"];
    let (master, replica) = (servers::Redis::with(&at_once)?, servers::Redis::with(&at_once)?);
    follow(&replica, &master)?;
    let proxy = Proxy::to(master.port())?;
    Ok(Box::new(Pair { master, replica, proxy }))
}

impl Stage for Pair {
    fn place(&self) -> String {
        self.proxy.url()
    }

    fn victims(&mut self) -> Vec<&mut servers::Redis> {
        vec![&mut self.master]
    }

    fn proxies(&self) -> Vec<&Proxy> {
        vec![&self.proxy]
    }

    fn promote(&mut self) -> Outcome {
        // A master that is not there: from here on the replica hears nothing and keeps what it has.
        self.replica.command("REPLICAOF 127.0.0.1 1")?;
        thread::sleep(Duration::from_millis(300));
        self.master.kill();
        self.replica.command("REPLICAOF NO ONE")?;
        self.proxy.lead_to(self.replica.port());
        std::mem::swap(&mut self.master, &mut self.replica);
        self.replica.restart_empty()?;
        follow(&self.replica, &self.master)
    }
}

/// Makes a server the replica of another, and waits until it has all that it has.
fn follow(replica: &servers::Redis, master: &servers::Redis) -> Outcome {
    replica.command(&format!("REPLICAOF 127.0.0.1 {}", master.port()))?;
    let began = Instant::now();
    while !replica.command("INFO replication")?.contains("master_link_status:up") {
        if began.elapsed() > Duration::from_secs(20) {
            return Err(Stop::failed("the replica does not find its master"));
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// The store that is broken in `broken.rs`.
pub(crate) type Real = Redis;

pub(crate) fn real(place: &str) -> Result<Real> {
    builder(place)?.connect()
}

/// The store for threads.
pub(crate) fn blocking(place: &str) -> Result<Store> {
    Ok(Store::Blocking(builder(place)?.connect()?.into()))
}

/// The store for tasks.
pub(crate) fn polled(place: &str) -> Result<Store> {
    on_a_runtime(builder(place)?)
}

pub(crate) fn fair(place: &str) -> Result<Store> {
    Ok(Store::Blocking(builder(place)?.fair().connect()?.into()))
}

pub(crate) fn fair_polled(place: &str) -> Result<Store> {
    on_a_runtime(builder(place)?.fair())
}

pub(crate) fn guarded(place: &str) -> Result<Store> {
    Ok(Store::Blocking(builder(place)?.restart_guard().connect()?.into()))
}

pub(crate) fn acknowledged(place: &str) -> Result<Store> {
    let within = Duration::from_millis(200);
    Ok(Store::Blocking(builder(place)?.replicas(1, within).connect()?.into()))
}

pub(crate) fn quorum(place: &str) -> Result<Store> {
    Ok(Store::Blocking(majority_at(place)?.connect()?.into()))
}

pub(crate) fn quorum_guarded(place: &str) -> Result<Store> {
    Ok(Store::Blocking(majority_at(place)?.restart_guard().connect()?.into()))
}

fn majority_at(place: &str) -> Result<QuorumBuilder> {
    Ok(Quorum::url(place)?.settings(settings()?).node_timeout(ANSWER))
}

fn on_a_runtime(builder: Builder) -> Result<Store> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = Arc::new(runtime.expect("there are threads for a runtime"));
    let store = runtime.block_on(builder.connect_async())?;
    Ok(Store::Polled(store.into(), runtime))
}

/// A builder with this table's time limits.
fn builder(place: &str) -> Result<Builder> {
    Ok(Redis::builder(place).settings(settings()?).connect_timeout(CONNECT).io_timeout(ANSWER))
}

fn settings() -> Result<Settings> {
    // A guarded server stays closed for the longest lease.
    let longest = Duration::from_secs(1);
    Settings::default().with_lease(longest)?.with_max_ttl(longest)?.with_recheck(RECHECK)
}
