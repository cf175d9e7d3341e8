//! A server that was started anew numbers changes anew: what a number meant before means nothing now.

use std::process::ExitCode;
use std::time::Duration;

use tenure_core::{Attempt, Backend, Held, Lock, Owner, Result, aio};
use tenure_memcached::Memcached;
use tenure_servers::{self as servers, Outcome, Plan, Stop, Trouble};

fn main() -> ExitCode {
    let tests = servers::tests![
        a_task_that_releases_or_renews_after_a_restart_takes_nobody_elses,
        a_lock_is_renewed_and_released_on_a_connection_that_is_younger,
        a_value_that_was_put_under_an_older_guard_gives_no_older_fence,
    ];
    servers::run("memcached", tests)
}

/// For as long as nobody here waits.
const LONG: Duration = Duration::from_secs(600);

fn open(server: &servers::Memcached) -> Result<Memcached> {
    Memcached::builder(&server.url()).without_quarantine().connect()
}

/// The number of the lock's value.
fn number(server: &servers::Memcached) -> Outcome<String> {
    Ok(server.command("mg lock:a c")?)
}

/// Forgets all, and lets somebody else take the lock, whose value gets the number that one had before.
fn restart_until(number: &str, server: &mut servers::Memcached) -> Outcome<Lock<Memcached, Held>> {
    server.restart()?;
    let held = Lock::new(open(server)?, "a").ttl(LONG).try_acquire()?;
    for _ in 0..10 {
        if self::number(server)? == number {
            return Ok(held);
        }
        held.renew()?;
    }
    Err(Stop::failed(format!("the number {number} did not come up again")))
}

fn a_task_that_releases_or_renews_after_a_restart_takes_nobody_elses() -> Outcome {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    for releases in [true, false] {
        let mut server = servers::memcached()?;
        let store = Memcached::builder(&server.url()).without_quarantine();
        let store = runtime.block_on(store.connect_async())?;
        let old = runtime.block_on(aio::Lock::new(&store, "a").ttl(LONG).try_acquire())?;
        let new = restart_until(&number(&server)?, &mut server)?;
        let told = match releases {
            true => runtime.block_on(old.release()),
            false => runtime.block_on(old.renew()),
        };
        assert!(told.map_or_else(|error| error.is_lost(), |()| releases));
        new.renew()?;
        new.release()?;
    }
    Ok(())
}

fn a_lock_is_renewed_and_released_on_a_connection_that_is_younger() -> Outcome {
    let server = servers::memcached()?;
    let proxy = servers::Proxy::to_memcached(server.port())?;
    let store = Memcached::builder(&proxy.url());
    let store = store.without_quarantine().connect()?;
    let held = Lock::new(&store, "a").ttl(LONG).try_acquire()?;
    proxy.sever();
    held.renew()?;
    proxy.sever();
    held.release()?;
    Lock::new(&store, "a").try_acquire()?.release()?;
    Ok(())
}

fn a_value_that_was_put_under_an_older_guard_gives_no_older_fence() -> Outcome {
    let server = servers::memcached()?;
    let proxy = servers::Proxy::to_memcached(server.port())?;
    let limit = Duration::from_millis(300);
    let store = Memcached::builder(&proxy.url()).io_timeout(limit).without_quarantine().connect()?;
    Lock::new(&store, "a").try_acquire()?.release()?;
    server.command("flush_all")?;
    let next = Lock::new(open(&server)?, "a").try_acquire()?;
    let fence = next.fence();
    next.release()?;
    // It takes the first guard to be there still, puts its value, and does not hear so.
    let claim = Lock::new(&store, "a").claim_as(Owner::random())?;
    proxy.plan(Plan::next(&[Trouble::DropReply]));
    assert!(store.try_acquire(&claim).is_err_and(|error| error.is_unavailable()));
    Lock::new(&store, "b").try_acquire()?.release()?;
    match store.try_acquire(&claim)? {
        Attempt::Granted(granted) => assert!(granted.fence() > fence, "{} after {fence}", granted.fence()),
        Attempt::Denied(denied) => return Err(Stop::failed(format!("{denied:?}"))),
    }
    Ok(())
}
