//! Grants that count only if replicas have heard of them.

use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use tenure_core::{Lock, Result, Status};
use tenure_redis::Redis;
use tenure_servers::{self as servers, Outcome};

fn main() -> ExitCode {
    let tests = servers::tests![
        a_grant_that_no_replica_acknowledged_is_given_back,
        a_renewal_that_no_replica_acknowledged_leaves_the_lease_unknown,
        tasks_demand_acknowledgements_as_threads_do,
        a_demand_that_cannot_work_is_misconfigured,
        a_cluster_demands_them_of_each_master,
    ];
    servers::run("redis", tests)
}

const WITHIN: Duration = Duration::from_millis(500);
const TTL: Duration = Duration::from_secs(60);

/// A master and a replica that is in step.
fn pair() -> Outcome<(servers::Redis, servers::Redis)> {
    let master = servers::Redis::with(&["--repl-diskless-sync-delay", "0"])?;
    let replica = servers::Redis::with(&["--replicaof", &format!("127.0.0.1 {}", master.port())])?;
    wait_for_the_replica(&master)?;
    Ok((master, replica))
}

/// Waits until the replica acknowledges what it hears: not before it has once.
fn wait_for_the_replica(master: &servers::Redis) -> Outcome {
    let began = Instant::now();
    while !master.command("WAIT 1 100")?.starts_with(":1") {
        assert!(began.elapsed() < Duration::from_secs(20), "the replica does not come into step");
        thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// Asks until enough replicas have heard of it: on a busy machine one may need longer.
fn eventually<T>(mut what: impl FnMut() -> Result<T>) -> Result<T> {
    let began = Instant::now();
    loop {
        match what() {
            Err(error) if error.is_unavailable() && began.elapsed() < Duration::from_secs(20) => {}
            result => return result,
        }
    }
}

fn a_grant_that_no_replica_acknowledged_is_given_back() -> Outcome {
    let (master, replica) = pair()?;
    let store = Redis::builder(&master.url()).replicas(1, WITHIN).connect()?;
    let lock = Lock::new(&store, "a").ttl(TTL);
    eventually(|| lock.try_acquire())?.release()?;
    eventually(|| Lock::new(&store, "s").shared().try_acquire())?.release()?;
    replica.process().stop()?;
    for lock in [&lock, &Lock::new(&store, "b")] {
        let began = Instant::now();
        let error = lock.try_acquire().expect_err("no replica hears of it");
        assert!(error.is_unavailable() && error.is_settled(), "{error:?}");
        assert!(error.to_string().contains("replicas"), "{error}");
        assert!(began.elapsed() >= WITHIN, "it did not wait");
    }
    assert_eq!(master.command("EXISTS lock:a lock:b")?, ":0\r\n");
    replica.process().go_on()?;
    eventually(|| lock.try_acquire())?.release()?;
    // Two are demanded, and one is there.
    let store = Redis::builder(&master.url()).replicas(2, WITHIN).connect()?;
    assert!(Lock::new(&store, "a").try_acquire().is_err_and(|error| error.is_unavailable()));
    assert_eq!(master.command("EXISTS lock:a")?, ":0\r\n");
    // What is denied is denied at once, whoever hears of it.
    let other = Redis::connect(&master.url())?;
    let held = Lock::new(&other, "a").ttl(TTL).try_acquire()?;
    assert!(Lock::new(&store, "a").try_acquire().is_err_and(|error| error.is_contended()));
    held.release()?;
    Ok(())
}

fn a_renewal_that_no_replica_acknowledged_leaves_the_lease_unknown() -> Outcome {
    let (master, replica) = pair()?;
    let store = Redis::builder(&master.url()).replicas(1, WITHIN).connect()?;
    let held = eventually(|| Lock::new(&store, "a").ttl(TTL).try_acquire())?;
    eventually(|| held.renew())?;
    replica.process().stop()?;
    let error = held.renew().expect_err("no replica hears of it");
    assert!(error.is_unavailable() && error.to_string().contains("replicas"), "{error:?}");
    assert_eq!(held.status(), Status::Unknown);
    assert_eq!(master.command("EXISTS lock:a")?, ":1\r\n");
    replica.process().go_on()?;
    eventually(|| held.renew())?;
    assert_eq!(held.status(), Status::Held);
    held.release()?;
    Ok(())
}

#[cfg(feature = "async")]
fn tasks_demand_acknowledgements_as_threads_do() -> Outcome {
    let (master, replica) = pair()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(async {
        let store = Redis::builder(&master.url()).replicas(1, WITHIN).connect_async().await?;
        let lock = tenure_core::aio::Lock::new(&store, "a").ttl(TTL);
        let held = lock.try_acquire().await?;
        held.renew().await?;
        replica.process().stop()?;
        let error = held.renew().await.expect_err("no replica hears of it");
        assert!(error.is_unavailable() && held.status() == Status::Unknown, "{error:?}");
        let other = tenure_core::aio::Lock::new(&store, "b");
        let error = other.try_acquire().await.expect_err("no replica hears of it");
        assert!(error.is_unavailable() && error.to_string().contains("replicas"), "{error:?}");
        assert_eq!(master.command("EXISTS lock:a lock:b")?, ":1\r\n");
        replica.process().go_on()?;
        wait_for_the_replica(&master)?;
        held.renew().await?;
        held.release().await?;
        other.try_acquire().await?.release().await?;
        Outcome::Ok(())
    })?;
    Ok(())
}

#[cfg(not(feature = "async"))]
fn tasks_demand_acknowledgements_as_threads_do() -> Outcome {
    Err(servers::Stop::Ignored("there are no tasks without the feature async".into()))
}

fn a_demand_that_cannot_work_is_misconfigured() -> Outcome {
    for (replicas, within) in [(0, WITHIN), (1001, WITHIN), (1, Duration::ZERO), (1, Duration::from_secs(3))]
    {
        for url in ["redis://127.0.0.1:1", "redis+cluster://127.0.0.1:1", "redis+sentinel://127.0.0.1:1/m"] {
            let error = Redis::builder(url).replicas(replicas, within).connect();
            let error = error.expect_err("it cannot work");
            assert!(error.is_misconfigured() && error.to_string().contains("replicas"), "{url}: {error:?}");
        }
    }
    Ok(())
}

fn a_cluster_demands_them_of_each_master() -> Outcome {
    let mut cluster = servers::cluster()?;
    let store = Redis::builder(&cluster.url()).replicas(1, WITHIN).connect()?;
    for place in 0..3 {
        cluster.expect(place, "WAIT 1 100", ":1")?;
    }
    let held: Vec<_> = (0..12)
        .map(|n| eventually(|| Lock::new(&store, format!("{n}")).ttl(TTL).try_acquire()))
        .collect::<Result<_>>()?;
    for held in &held {
        eventually(|| held.renew())?;
    }
    drop(held);
    cluster.nodes()[3].process().stop()?;
    let (name, other) = ("{b}", "{a}");
    assert_eq!((place(&mut cluster, name)?, place(&mut cluster, other)?), (0, 2));
    let error = Lock::new(&store, name).try_acquire().expect_err("its master has no replica");
    assert!(error.is_unavailable() && error.to_string().contains("replicas"), "{error:?}");
    eventually(|| Lock::new(&store, other).try_acquire())?.release()?;
    Ok(())
}

fn place(cluster: &mut servers::Cluster, key: &str) -> Outcome<usize> {
    let answer = cluster.nodes()[0].command(&format!("CLUSTER KEYSLOT {key}"))?;
    let slot = answer.trim_start_matches(':').trim().parse().expect("a slot is a number");
    Ok(servers::Cluster::place_of(slot))
}
