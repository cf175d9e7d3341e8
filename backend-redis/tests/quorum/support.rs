//! Several servers, and what tests ask of them.

use std::thread;
use std::time::{Duration, Instant};

use tenure_core::{Error, Result, Settings};
use tenure_redis::Quorum;
use tenure_servers::{self as servers, Outcome};

/// How long a server may take.
pub(crate) const LIMIT: Duration = Duration::from_millis(300);

/// By when what goes on in the background must be done.
pub(crate) const SOON: Duration = Duration::from_secs(10);

pub(crate) type Servers = Vec<servers::Redis>;

pub(crate) fn start(count: usize, options: &[&str]) -> Outcome<Servers> {
    (0..count).map(|_| Ok(servers::Redis::with(options)?)).collect()
}

pub(crate) fn open(servers: &Servers) -> Result<Quorum> {
    open_with(servers, Settings::default())
}

pub(crate) fn open_with(servers: &Servers, settings: Settings) -> Result<Quorum> {
    let urls = servers.iter().map(servers::Redis::url);
    Quorum::builder(urls).node_timeout(LIMIT).settings(settings).connect()
}

/// The servers in the order in which the store counts them.
pub(crate) fn in_order(servers: &Servers) -> Vec<usize> {
    let mut order: Vec<usize> = (0..servers.len()).collect();
    order.sort_by_key(|index| servers[*index].url());
    order
}

/// An error that came within the time limits and is no contention.
pub(crate) fn unavailable<T: std::fmt::Debug>(limit: Duration, what: impl FnOnce() -> Result<T>) -> Error {
    let began = Instant::now();
    let error = what().expect_err("no majority answers");
    assert!(error.is_unavailable(), "{error:?}");
    assert!(began.elapsed() < limit, "it took {:?}: {error}", began.elapsed());
    error
}

pub(crate) fn eventually(what: &str, mut look: impl FnMut() -> bool) {
    let began = Instant::now();
    while !look() {
        assert!(began.elapsed() < SOON, "{what}: not within {SOON:?}");
        thread::sleep(Duration::from_millis(2));
    }
}

pub(crate) fn is_taken(server: &servers::Redis, name: &str) -> std::io::Result<bool> {
    Ok(server.command(&format!("EXISTS lock:{name}"))? == ":1\r\n")
}

/// Somebody who speaks to the servers one by one.
pub(crate) fn take(servers: &[&servers::Redis], name: &str) -> Outcome {
    for server in servers {
        assert_eq!(server.command(&format!("SET lock:{name} another NX PX 60000"))?, "+OK\r\n");
    }
    Ok(())
}
