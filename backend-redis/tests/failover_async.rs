//! What tasks see of several servers: slots that move, masters that die.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use tenure_core::aio::{AsyncBackend, AsyncInspect, Lock};
use tenure_core::{Result, Status};
use tenure_redis::{AsyncRedis, Redis};
use tenure_servers::{self as servers, Cluster, Outcome};

const LIMIT: Duration = Duration::from_millis(500);
const TTL: Duration = Duration::from_secs(60);

/// How long it may take until a replica is in the place of its master.
const FAIL_OVER: Duration = Duration::from_secs(40);

fn main() -> ExitCode {
    let tests = servers::tests![
        a_slot_that_moved_is_found_where_it_is_now,
        a_slot_that_moves_is_asked_for_where_its_keys_are,
        a_killed_master_of_a_cluster_is_unavailable_at_once_and_its_replica_takes_over,
        all_masters_are_searched_for_locks,
        many_are_renewed_at_all_masters,
        a_killed_master_leaves_leases_unknown_until_the_one_that_sentinels_name_confirms_them,
        a_master_that_was_demoted_is_left_at_its_first_refusal,
        what_is_wrong_is_misconfigured,
        servers_without_resp3_are_for_threads_alone,
    ];
    servers::run("redis-async", tests)
}

/// Runs a test in a runtime.
fn run(test: impl Future<Output = Outcome>) -> Outcome {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?.block_on(test)
}

async fn open(url: &str) -> Result<AsyncRedis> {
    Redis::builder(url).connect_timeout(LIMIT).io_timeout(LIMIT).connect_async().await
}

async fn eventually<T>(mut what: impl AsyncFnMut() -> Result<T>) -> Result<T> {
    let began = Instant::now();
    loop {
        match what().await {
            Err(error) if error.is_unavailable() && began.elapsed() < FAIL_OVER => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            result => return result,
        }
    }
}

/// A name whose lock lies at the master of this place, and its slot.
fn name_at(cluster: &mut Cluster, place: usize) -> Outcome<(String, u16)> {
    for n in 0.. {
        let name = format!("at{place}-{n}");
        let answer = cluster.nodes()[1].command(&format!("CLUSTER KEYSLOT lock:{name}"))?;
        let slot = answer.trim_start_matches(':').trim().parse().expect("a slot is a number");
        if Cluster::place_of(slot) == place {
            return Ok((name, slot));
        }
    }
    unreachable!("every master has names")
}

fn move_slot(cluster: &mut Cluster, slot: u16, to: usize) -> Outcome {
    let id = cluster.id(to)?;
    for place in [to, 0, 1, 2] {
        cluster.expect(place, &format!("CLUSTER SETSLOT {slot} NODE {id}"), "+OK")?;
    }
    Ok(())
}

fn a_slot_that_moved_is_found_where_it_is_now() -> Outcome {
    let mut cluster = servers::cluster()?;
    run(async {
        let (name, slot) = name_at(&mut cluster, 0)?;
        let store = open(&cluster.url()).await?;
        for to in [1, 2, 0] {
            Lock::new(&store, &name).try_acquire().await?.release().await?;
            for place in 0..3 {
                cluster.nodes()[place].command("FLUSHALL")?;
            }
            move_slot(&mut cluster, slot, to)?;
            let held = Lock::new(&store, &name).try_acquire().await?;
            assert_eq!(cluster.nodes()[to].command(&format!("EXISTS lock:{name}"))?, ":1\r\n");
            held.renew().await?;
            held.release().await?;
        }
        Ok(())
    })
}

fn a_slot_that_moves_is_asked_for_where_its_keys_are() -> Outcome {
    let mut cluster = servers::cluster()?;
    run(async {
        let (name, slot) = name_at(&mut cluster, 0)?;
        let store = open(&cluster.url()).await?;
        let (from, to) = (cluster.id(0)?, cluster.id(1)?);
        cluster.nodes()[1].command(&format!("CLUSTER SETSLOT {slot} IMPORTING {from}"))?;
        cluster.nodes()[0].command(&format!("CLUSTER SETSLOT {slot} MIGRATING {to}"))?;
        for key in [format!("lock:{name}"), format!("~f:{{lock:{name}}}"), format!("~w:{{lock:{name}}}")] {
            let answer = cluster.nodes()[1].command(&format!("ASKING\r\nSET {key} 7 PX 60000"))?;
            assert!(answer.starts_with("+OK"), "{answer}");
        }
        cluster.expect(1, "DBSIZE", ":3")?;
        let error = Lock::new(&store, &name).try_acquire().await.expect_err("somebody holds it there");
        assert!(error.is_contended() && error.holder().is_some_and(|fence| fence.get() == 7), "{error:?}");
        cluster.nodes()[1].command(&format!("ASKING\r\nDEL ~w:{{lock:{name}}}"))?;
        cluster.expect(1, "DBSIZE", ":2")?;
        let began = Instant::now();
        let error = Lock::new(&store, &name).try_acquire().await.expect_err("its keys are on their way");
        assert!(error.is_unavailable() && error.to_string().contains("moved"), "{error:?}");
        assert!(began.elapsed() > LIMIT / 2 && began.elapsed() < LIMIT * 4, "{:?}", began.elapsed());
        Ok(())
    })
}

fn a_killed_master_of_a_cluster_is_unavailable_at_once_and_its_replica_takes_over() -> Outcome {
    let mut cluster = servers::cluster()?;
    run(async {
        let (name, _) = name_at(&mut cluster, 0)?;
        let (elsewhere, _) = name_at(&mut cluster, 1)?;
        let store = open(&cluster.url()).await?;
        let held = Lock::new(&store, &name).ttl(TTL).try_acquire().await?;
        let other = Lock::new(&store, &elsewhere).ttl(TTL).try_acquire().await?;
        cluster.expect(3, "DBSIZE", ":2")?;
        cluster.nodes()[0].kill();
        let began = Instant::now();
        let error = held.renew().await.expect_err("its master is dead");
        assert!(
            error.is_unavailable() && began.elapsed() < LIMIT * 4,
            "{error:?} after {:?}",
            began.elapsed()
        );
        assert_eq!(held.status(), Status::Unknown);
        other.renew().await?;
        eventually(async || held.renew().await).await?;
        assert_eq!((held.status(), other.status()), (Status::Held, Status::Held));
        assert!(Lock::new(&store, &name).try_acquire().await.is_err_and(|error| error.is_contended()));
        held.release().await?;
        Ok(())
    })
}

fn all_masters_are_searched_for_locks() -> Outcome {
    let mut cluster = servers::cluster()?;
    run(async {
        let store = open(&cluster.url()).await?;
        let (mut names, mut held) = (Vec::new(), Vec::new());
        for place in 0..3 {
            let (name, _) = name_at(&mut cluster, place)?;
            held.push(Lock::new(&store, &name).try_acquire().await?);
            names.push(name);
        }
        let mut seen: Vec<_> =
            store.list("at").await?.iter().map(|holder| holder.name().to_string()).collect();
        seen.sort();
        assert_eq!(seen, names);
        assert!(!AsyncBackend::diagnose(&store).await.is_empty());
        Ok(())
    })
}

fn many_are_renewed_at_all_masters() -> Outcome {
    let cluster = servers::cluster()?;
    run(async {
        let settings = tenure_core::Settings::default().with_lease(Duration::from_millis(900))?;
        let store = Redis::builder(&cluster.url()).settings(settings).connect_async().await?;
        let mut held = Vec::new();
        for n in 0..30 {
            held.push(Lock::new(&store, format!("{n}")).keep_alive().try_acquire().await?);
        }
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert!(held.iter().all(|held| held.status() == Status::Held));
        Ok(())
    })
}

fn a_killed_master_leaves_leases_unknown_until_the_one_that_sentinels_name_confirms_them() -> Outcome {
    let mut sentinels = servers::sentinels()?;
    run(async {
        let store = open(&sentinels.url()).await?;
        let held = Lock::new(&store, "a").ttl(TTL).try_acquire().await?;
        let kept = Lock::new(&store, "b").ttl(TTL).try_acquire().await?;
        eventually(async || {
            let same = sentinels.servers()[1].command("DBSIZE").is_ok_and(|size| size == ":4\r\n");
            if same { Ok(()) } else { Err(tenure_core::Error::unavailable("not yet")) }
        })
        .await?;
        sentinels.servers()[0].kill();
        let began = Instant::now();
        let error = held.renew().await.expect_err("the master is dead");
        assert!(
            error.is_unavailable() && began.elapsed() < LIMIT * 4,
            "{error:?} after {:?}",
            began.elapsed()
        );
        assert_eq!((held.status(), kept.status()), (Status::Unknown, Status::Held));
        eventually(async || held.renew().await).await?;
        assert_eq!((held.status(), kept.status()), (Status::Held, Status::Unknown));
        kept.renew().await?;
        assert_eq!(kept.status(), Status::Held);
        held.release().await?;
        Ok(())
    })
}

fn a_master_that_was_demoted_is_left_at_its_first_refusal() -> Outcome {
    let mut sentinels = servers::sentinels()?;
    run(async {
        let store = open(&sentinels.url()).await?;
        Lock::new(&store, "a").try_acquire().await?.release().await?;
        // By hand: the sentinels put it right after a while.
        let other = sentinels.servers()[1].port();
        sentinels.servers()[0].command(&format!("REPLICAOF 127.0.0.1 {other}"))?;
        let error = Lock::new(&store, "b").try_acquire().await.expect_err("it is a replica now");
        assert!(error.is_unavailable(), "{error:?}");
        let error = open(&sentinels.url()).await.expect_err("there is no master");
        assert!(error.is_unavailable() && error.to_string().contains("no master"), "{error:?}");
        eventually(async || Lock::new(&store, "b").try_acquire().await).await?.release().await?;
        Ok(())
    })
}

fn what_is_wrong_is_misconfigured() -> Outcome {
    let server = servers::redis()?;
    let sentinels = servers::sentinels()?;
    run(async {
        for (url, word) in [
            (format!("redis+cluster://127.0.0.1:{}", server.port()), "redis://"),
            (sentinels.url().replace("mymaster", "nobody"), "\"nobody\""),
            ("redis+sentinel://:hunter2@127.0.0.1".into(), "redis+sentinel://"),
        ] {
            let error = open(&url).await.expect_err("it cannot work");
            let shown = format!("{error:?}");
            assert!(
                error.is_misconfigured() && shown.contains(word) && !shown.contains("hunter2"),
                "{shown}"
            );
        }
        Ok(())
    })
}

fn servers_without_resp3_are_for_threads_alone() -> Outcome {
    let old = ["--rename-command", "HELLO", ""];
    let (cluster, sentinels) = (Cluster::with(&old)?, servers::Sentinels::with(&old)?);
    for url in [cluster.url(), sentinels.url()] {
        run(async {
            let error = open(&url).await.expect_err("nobody could tell it anything");
            assert!(error.is_misconfigured() && error.to_string().contains("RESP3"), "{error:?}");
            Ok(())
        })?;
        tenure_core::Lock::new(&Redis::connect(&url)?, "a").try_acquire()?.release()?;
    }
    Ok(())
}
