//! A server without memory, and one that makes room.

use std::process::ExitCode;
use std::time::Duration;

use tenure_core::{Backend, Lock, Result, Status};
use tenure_memcached::Memcached;
use tenure_servers::{self as servers, Outcome, Stop};

fn main() -> ExitCode {
    let tests = servers::tests![
        a_full_server_frees_no_lock_that_others_ask_for,
        a_full_server_loses_no_lock_that_it_cannot_renew,
        a_lock_that_is_kept_alive_outlives_a_full_server,
        a_dead_holders_lock_is_taken_over_on_a_full_server,
        a_server_that_evicts_can_lose_a_lock_and_its_holder_is_told,
        a_lock_that_is_renewed_survives_traffic_that_evicts_an_idle_one,
    ];
    servers::run("memcached", tests)
}

fn open(server: &servers::Memcached) -> Result<Memcached> {
    Memcached::builder(&server.url()).without_quarantine().connect()
}

/// A server that refuses what it has no memory for.
fn refusing() -> Outcome<servers::Memcached> {
    Ok(servers::Memcached::with(&["-M", "-m", "2", "-o", "slab_chunk_max=16384"])?)
}

/// Fills it with values of the size of the lock's, down to the last one.
fn fill(server: &servers::Memcached, name: &str) -> Outcome {
    let key = format!("lock:{name}");
    let value = server.command(&format!("mg {key} v"))?.lines().nth(1).expect("it is held").to_owned();
    for round in 0..100 {
        let fillers = (0..2000).map(|number| {
            let filler = format!("{:0width$}", round * 2000 + number, width = key.len());
            format!("ms {filler} {} T0\r\n{value}", value.len())
        });
        if server.command(&fillers.collect::<Vec<_>>().join("\r\n"))?.contains("out of memory") {
            return Ok(());
        }
    }
    Err(Stop::failed("the server is not full"))
}

fn a_full_server_frees_no_lock_that_others_ask_for() -> Outcome {
    let server = refusing()?;
    let (store, other) = (open(&server)?, open(&server)?);
    let held = Lock::new(&store, "a").ttl(Duration::from_secs(60)).try_acquire()?;
    fill(&server, "a")?;
    // The meta command that writes would delete the holder's value here, at the first attempt.
    for _ in 0..20 {
        let error = Lock::new(&other, "a").try_acquire().expect_err("it is held");
        assert!(error.is_contended() && error.holder() == Some(held.fence()), "{error:?}");
    }
    let error = Lock::new(&other, "b").try_acquire().expect_err("there is no memory for another");
    assert!(
        error.is_unavailable() && error.is_settled() && error.to_string().contains("memory"),
        "{error:?}"
    );
    // What is released makes room, and what was held is free.
    held.release()?;
    Lock::new(&other, "a").try_acquire()?.release()?;
    Ok(())
}

fn a_full_server_loses_no_lock_that_it_cannot_renew() -> Outcome {
    let server = refusing()?;
    let (store, other) = (open(&server)?, open(&server)?);
    let held = Lock::new(&store, "a").ttl(Duration::from_secs(60)).try_acquire()?;
    fill(&server, "a")?;
    let error = held.renew().expect_err("there is no memory for a second value");
    assert!(error.is_unavailable() && error.to_string().contains("memory"), "{error:?}");
    assert!(matches!(held.status(), Status::Held | Status::Unknown));
    assert!(Lock::new(&other, "a").try_acquire().is_err_and(|error| error.is_contended()));
    held.release()?;
    Ok(())
}

fn a_lock_that_is_kept_alive_outlives_a_full_server() -> Outcome {
    let server = refusing()?;
    let settings = tenure_core::Settings::default().with_lease(Duration::from_secs(3))?;
    let store = Memcached::builder(&server.url()).settings(settings).without_quarantine().connect()?;
    let held = Lock::new(&store, "a").try_acquire()?;
    fill(&server, "a")?;
    assert!(held.renew().is_err_and(|error| error.is_unavailable()));
    let some: Vec<String> = (0..100).map(|number| format!("delete {number:06}")).collect();
    server.command(&some.join("\r\n"))?;
    held.renew()?;
    assert_eq!(held.status(), Status::Held);
    held.release()?;
    Ok(())
}

fn a_dead_holders_lock_is_taken_over_on_a_full_server() -> Outcome {
    let server = refusing()?;
    let store = open(&server)?;
    drop(Lock::new(&store, "a").ttl(Duration::from_millis(300)).release_on_drop(false).try_acquire()?);
    fill(&server, "a")?;
    Lock::new(&store, "a").acquire_for(Duration::from_secs(3))?.release()?;
    Ok(())
}

/// A server that makes room for new values by what was used least, with values of the size of locks.
fn evicting(
    server: &servers::Memcached,
    name: &str,
    rounds: u32,
    mut between: impl FnMut() -> Outcome,
) -> Outcome {
    let key = format!("lock:{name}");
    let value = server.command(&format!("mg {key} v u"))?.lines().nth(1).expect("it is held").to_owned();
    for round in 0..rounds {
        let fillers = (0..500)
            .map(|number| format!("set {:06} 0 0 {} noreply\r\n{value}", round * 500 + number, value.len()));
        server.command(&fillers.collect::<Vec<_>>().join("\r\n"))?;
        between()?;
    }
    Ok(())
}

fn a_server_that_evicts_can_lose_a_lock_and_its_holder_is_told() -> Outcome {
    let server = servers::Memcached::with(&["-m", "2", "-o", "slab_chunk_max=16384"])?;
    let (store, other) = (open(&server)?, open(&server)?);
    let told: Vec<String> = store.diagnose().iter().map(|advice| advice.risk().to_owned()).collect();
    assert!(told.iter().any(|risk| risk.contains("evicts")), "{told:?}");
    let held = Lock::new(&store, "a").ttl(Duration::from_secs(600)).try_acquire()?;
    evicting(&server, "a", 60, || Ok(()))?;
    let next = Lock::new(&other, "a").try_acquire()?;
    assert!(next.fence() > held.fence(), "a gate tells the two apart");
    assert!(held.renew().is_err_and(|error| error.is_lost()));
    next.renew()?;
    next.release()?;
    Ok(())
}

fn a_lock_that_is_renewed_survives_traffic_that_evicts_an_idle_one() -> Outcome {
    let server = servers::Memcached::with(&["-m", "2", "-o", "slab_chunk_max=16384"])?;
    let store = open(&server)?;
    let held = Lock::new(&store, "a").ttl(Duration::from_secs(600)).try_acquire()?;
    evicting(&server, "a", 60, || Ok(held.renew()?))?;
    assert_eq!(held.status(), Status::Held);
    held.release()?;
    Ok(())
}
