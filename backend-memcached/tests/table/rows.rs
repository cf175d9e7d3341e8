//! How configurations are started, and stores of them opened.

use std::sync::Arc;
use std::time::Duration;

use tenure_core::{Result, Settings};
use tenure_memcached::{Builder, Memcached};
use tenure_servers::{self as servers, Outcome, Proxy};

use crate::store::Store;

/// How long an attempt to connect, and an answer, may take.
const CONNECT: Duration = Duration::from_millis(300);
const ANSWER: Duration = Duration::from_millis(400);

/// How often waiters look again, however little they hear.
const RECHECK: Duration = Duration::from_millis(500);

/// Little memory, of which a class of values gets a little at a time.
const SMALL: [&str; 4] = ["-m", "2", "-o", "slab_chunk_max=16384"];

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

    /// The servers, all of which a fault comes over.
    fn victims(&mut self) -> Vec<&mut servers::Memcached>;

    /// The proxies, if the road has some.
    fn proxies(&self) -> Vec<&Proxy>;
}

/// Servers that know nothing of each other, each with what stands before it.
struct Servers(Vec<(servers::Memcached, Option<Proxy>)>);

pub(crate) fn memory(road: Road) -> Outcome<Box<dyn Stage>> {
    start(road, 1, &[&SMALL[..], &["-M"]].concat())
}

pub(crate) fn evicting(road: Road) -> Outcome<Box<dyn Stage>> {
    start(road, 1, &SMALL)
}

pub(crate) fn several(road: Road) -> Outcome<Box<dyn Stage>> {
    start(road, 2, &[&SMALL[..], &["-M"]].concat())
}

fn start(road: Road, count: usize, options: &[&str]) -> Outcome<Box<dyn Stage>> {
    let start = |_| {
        let server = servers::Memcached::with(options)?;
        let proxy = if road == Road::Proxied { Some(Proxy::to_memcached(server.port())?) } else { None };
        Ok((server, proxy))
    };
    Ok(Box::new(Servers((0..count).map(start).collect::<Outcome<_>>()?)))
}

impl Stage for Servers {
    fn place(&self) -> String {
        let port = |(server, proxy): &(servers::Memcached, Option<Proxy>)| {
            format!("127.0.0.1:{}", proxy.as_ref().map_or_else(|| server.port(), Proxy::port))
        };
        format!("memcache://{}", self.0.iter().map(port).collect::<Vec<_>>().join(","))
    }

    fn victims(&mut self) -> Vec<&mut servers::Memcached> {
        self.0.iter_mut().map(|(server, _)| server).collect()
    }

    fn proxies(&self) -> Vec<&Proxy> {
        self.0.iter().filter_map(|(_, proxy)| proxy.as_ref()).collect()
    }
}

/// The store that is broken in `broken.rs`.
pub(crate) type Real = Memcached;

pub(crate) fn real(place: &str) -> Result<Real> {
    builder(place)?.without_quarantine().connect()
}

/// The store for threads.
pub(crate) fn blocking(place: &str) -> Result<Store> {
    Ok(Store::Blocking(builder(place)?.connect()?.into()))
}

pub(crate) fn unguarded(place: &str) -> Result<Store> {
    Ok(Store::Blocking(real(place)?.into()))
}

/// The store for tasks.
pub(crate) fn polled(place: &str) -> Result<Store> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = Arc::new(runtime.expect("there are threads for a runtime"));
    let store = runtime.block_on(builder(place)?.connect_async())?;
    Ok(Store::Polled(store.into(), runtime))
}

/// A builder with this table's time limits.
fn builder(place: &str) -> Result<Builder> {
    // A server stays closed for the longest lease, and for some of its seconds more.
    let longest = Duration::from_millis(900);
    let settings = Settings::default().with_lease(longest)?.with_max_ttl(longest)?.with_recheck(RECHECK)?;
    Ok(Memcached::builder(place).settings(settings).connect_timeout(CONNECT).io_timeout(ANSWER))
}
