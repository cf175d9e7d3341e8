//! A server that was started anew numbers changes anew: what a number meant before means nothing now.

use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use tenure_core::{Held, Lock, Result, aio};
use tenure_memcached::Memcached;
use tenure_servers::{self as servers, Outcome, Stop};

fn main() -> ExitCode {
    let tests = servers::tests![
        a_release_of_a_lock_from_before_a_restart_frees_nobody_elses,
        a_renewal_of_a_lock_from_before_a_restart_takes_nobody_elses,
        an_attempt_that_saw_a_lease_end_before_a_restart_takes_nobody_elses,
        a_task_that_releases_or_renews_after_a_restart_takes_nobody_elses,
        a_lock_is_renewed_and_released_on_a_connection_that_is_younger,
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

fn a_release_of_a_lock_from_before_a_restart_frees_nobody_elses() -> Outcome {
    let mut server = servers::memcached()?;
    let old = Lock::new(open(&server)?, "a").ttl(LONG).try_acquire()?;
    let new = restart_until(&number(&server)?, &mut server)?;
    // It may have been released on a connection that ended at this moment, for all that its holder knows.
    let told = old.release();
    assert!(told.map_or_else(|error| error.is_lost(), |()| true));
    new.renew()?;
    new.release()?;
    Ok(())
}

fn a_renewal_of_a_lock_from_before_a_restart_takes_nobody_elses() -> Outcome {
    let mut server = servers::memcached()?;
    let old = Lock::new(open(&server)?, "a").ttl(LONG).try_acquire()?;
    let new = restart_until(&number(&server)?, &mut server)?;
    assert!(old.renew().is_err_and(|error| error.is_lost()), "the server forgot it");
    new.renew()?;
    new.release()?;
    Ok(())
}

fn an_attempt_that_saw_a_lease_end_before_a_restart_takes_nobody_elses() -> Outcome {
    let mut server = servers::memcached()?;
    let (store, ttl) = (open(&server)?, Duration::from_millis(100));
    drop(Lock::new(open(&server)?, "a").ttl(ttl).release_on_drop(false).try_acquire()?);
    let attempt = || Lock::new(&store, "a").try_acquire();
    assert!(attempt().is_err_and(|error| error.is_contended()));
    let number = number(&server)?;
    thread::sleep(ttl * 2);
    let new = restart_until(&number, &mut server)?;
    // The first attempt finds out that the server was started anew.
    for _ in 0..2 {
        let error = attempt().expect_err("somebody took it after the restart");
        assert!(error.is_contended(), "{error:?}");
    }
    new.renew()?;
    new.release()?;
    Ok(())
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
