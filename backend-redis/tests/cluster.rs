//! What is true of a cluster alone: slots that move, masters that die.

use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use tenure_core::{Backend, Inspect, Lock, Result, Settings, Status};
use tenure_redis::Redis;
use tenure_servers::{self as servers, Cluster, Outcome};

const LIMIT: Duration = Duration::from_millis(500);

/// How long a cluster may take to put a replica in the place of a master.
const FAIL_OVER: Duration = Duration::from_secs(40);

fn main() -> ExitCode {
    let tests = servers::tests![
        a_slot_that_moved_is_found_where_it_is_now,
        a_slot_that_moves_is_asked_for_where_its_keys_are_and_is_found_when_it_has_moved,
        a_killed_master_is_unavailable_at_once_and_its_replica_takes_over,
        a_master_that_hangs_keeps_nobody_waiting_whose_lock_is_elsewhere,
        locks_survive_a_fail_over_that_the_cluster_was_asked_for,
        many_that_are_kept_are_renewed_at_all_masters_whoever_they_are,
        all_masters_are_searched_for_locks,
        who_waits_hears_of_a_release_through_another_node,
        one_node_that_lives_is_enough_to_find_the_cluster,
        what_is_no_cluster_is_misconfigured,
    ];
    servers::run("redis-cluster", tests)
}

fn open(cluster: &Cluster) -> Result<Redis> {
    Redis::builder(&cluster.url()).connect_timeout(LIMIT).io_timeout(LIMIT).connect()
}

/// A name whose lock lies at the master of this place, and its slot.
fn name_at(cluster: &mut Cluster, place: usize) -> (String, u16) {
    let mut names = (0..).map(|n| format!("at{place}-{n}"));
    names
        .find_map(|name| {
            let slot = slot(cluster, &name);
            (Cluster::place_of(slot) == place).then_some((name, slot))
        })
        .expect("every master has names")
}

/// The slot of a lock, as the server sees it.
fn slot(cluster: &mut Cluster, name: &str) -> u16 {
    let answer = cluster.nodes()[0].command(&format!("CLUSTER KEYSLOT lock:{name}"));
    let answer = answer.expect("the first node lives");
    answer.trim_start_matches(':').trim().parse().expect("a slot is a number")
}

fn eventually<T>(limit: Duration, mut what: impl FnMut() -> Result<T>) -> Result<T> {
    let began = Instant::now();
    loop {
        match what() {
            Err(error) if error.is_unavailable() && began.elapsed() < limit => {
                thread::sleep(Duration::from_millis(20));
            }
            result => return result,
        }
    }
}

/// Gives a slot without keys from one master to another.
fn move_slot(cluster: &mut Cluster, slot: u16, to: usize) -> Outcome {
    let id = cluster.id(to)?;
    for place in [to, 0, 1, 2] {
        cluster.expect(place, &format!("CLUSTER SETSLOT {slot} NODE {id}"), "+OK")?;
    }
    Ok(())
}

fn a_slot_that_moved_is_found_where_it_is_now() -> Outcome {
    let mut cluster = servers::cluster()?;
    let (name, slot) = name_at(&mut cluster, 0);
    let store = open(&cluster)?;
    Lock::new(&store, &name).try_acquire()?.release()?;
    // The fence is left; it goes with the slot in real life, and here it goes.
    cluster.nodes()[0].command("FLUSHALL")?;
    move_slot(&mut cluster, slot, 1)?;
    let held = Lock::new(&store, &name).try_acquire()?;
    assert_eq!(cluster.nodes()[1].command(&format!("EXISTS lock:{name}"))?, ":1\r\n");
    held.renew()?;
    held.release()?;
    // Again and again, so that a stale map would show.
    for to in [2, 0, 1, 2] {
        for place in 0..3 {
            cluster.nodes()[place].command("FLUSHALL")?;
        }
        move_slot(&mut cluster, slot, to)?;
        let held: Vec<_> = (0..8)
            .map(|n| Lock::new(&store, format!("{{lock:{name}}}{n}")).keep_alive().try_acquire())
            .collect::<Result<_>>()?;
        let lock = Lock::new(&store, &name).try_acquire()?;
        assert_eq!(cluster.nodes()[to].command(&format!("EXISTS lock:{name}"))?, ":1\r\n");
        lock.release()?;
        held.into_iter().try_for_each(|held| held.release())?;
    }
    Ok(())
}

fn a_slot_that_moves_is_asked_for_where_its_keys_are_and_is_found_when_it_has_moved() -> Outcome {
    let mut cluster = servers::cluster()?;
    let (name, slot) = name_at(&mut cluster, 0);
    let store = open(&cluster)?;
    let lock = Lock::new(&store, &name);
    lock.try_acquire()?.release()?;
    cluster.nodes()[0].command("FLUSHALL")?;
    let (from, to) = (cluster.id(0)?, cluster.id(1)?);
    cluster.nodes()[1].command(&format!("CLUSTER SETSLOT {slot} IMPORTING {from}"))?;
    cluster.nodes()[0].command(&format!("CLUSTER SETSLOT {slot} MIGRATING {to}"))?;
    // All of the lock's keys are there already.
    for key in [format!("lock:{name}"), format!("~f:{{lock:{name}}}"), format!("~w:{{lock:{name}}}")] {
        let answer = cluster.nodes()[1].command(&format!("ASKING\r\nSET {key} 7 PX 60000"))?;
        assert!(answer.starts_with("+OK"), "{answer}");
    }
    cluster.expect(1, "DBSIZE", ":3")?;
    let error = lock.try_acquire().expect_err("somebody holds it there");
    assert!(error.is_contended() && error.holder().is_some_and(|fence| fence.get() == 7), "{error:?}");
    // Some of them only: nobody can tell.
    cluster.nodes()[1].command(&format!("ASKING\r\nDEL ~w:{{lock:{name}}}"))?;
    cluster.expect(1, "DBSIZE", ":2")?;
    let error = lock.try_acquire().expect_err("its keys are on their way");
    assert!(error.is_unavailable() && error.to_string().contains("moved"), "{error:?}");
    // What waits a moment gets it as soon as the slot has moved.
    cluster.nodes()[1].command(&format!("ASKING\r\nDEL lock:{name}"))?;
    cluster.expect(1, "DBSIZE", ":1")?;
    let patient = Redis::builder(&cluster.url()).io_timeout(Duration::from_secs(20)).connect()?;
    let waiting = thread::spawn(move || Lock::new(&patient, &name).try_acquire().map(|held| held.fence()));
    thread::sleep(Duration::from_millis(200));
    assert!(!waiting.is_finished());
    move_slot(&mut cluster, slot, 1)?;
    let fence = waiting.join().expect("it does not panic")?;
    assert!(fence.get() > 7);
    Ok(())
}

fn a_killed_master_is_unavailable_at_once_and_its_replica_takes_over() -> Outcome {
    let mut cluster = servers::cluster()?;
    let (name, _) = name_at(&mut cluster, 0);
    let (elsewhere, _) = name_at(&mut cluster, 1);
    let store = open(&cluster)?;
    let held = Lock::new(&store, &name).ttl(Duration::from_secs(60)).try_acquire()?;
    let before = held.fence();
    let beside = Lock::new(&store, format!("{{lock:{name}}}")).ttl(Duration::from_secs(60)).try_acquire()?;
    let other = Lock::new(&store, &elsewhere).ttl(Duration::from_secs(60)).try_acquire()?;
    // The replica has them.
    cluster.expect(3, "DBSIZE", ":4")?;
    cluster.nodes()[0].kill();
    let began = Instant::now();
    let error = held.renew().expect_err("its master is dead");
    assert!(error.is_unavailable() && began.elapsed() < LIMIT * 4, "{error:?} after {:?}", began.elapsed());
    assert_eq!(held.status(), Status::Unknown);
    other.renew()?;
    eventually(FAIL_OVER, || held.renew())?;
    assert_eq!(held.status(), Status::Held);
    // Not asked since, but granted by a node that serves it no more.
    assert_eq!((beside.status(), other.status()), (Status::Unknown, Status::Held));
    beside.renew()?;
    assert_eq!(beside.status(), Status::Held);
    assert!(Lock::new(&store, &name).try_acquire().is_err_and(|error| error.is_contended()));
    held.release()?;
    let next = Lock::new(&store, &name).try_acquire()?;
    assert!(next.fence() > before);
    next.release()?;
    // The old master comes back as a replica.
    cluster.nodes()[0].restart()?;
    cluster.expect(0, "ROLE", "slave")?;
    Lock::new(&store, &name).try_acquire()?.release()?;
    Ok(())
}

fn a_master_that_hangs_keeps_nobody_waiting_whose_lock_is_elsewhere() -> Outcome {
    let mut cluster = servers::cluster()?;
    let (name, _) = name_at(&mut cluster, 2);
    let (elsewhere, _) = name_at(&mut cluster, 1);
    let store = open(&cluster)?;
    let ttl = Duration::from_secs(60);
    let held = Lock::new(&store, &name).ttl(ttl).try_acquire()?;
    let other = Lock::new(&store, &elsewhere).ttl(ttl).try_acquire()?;
    cluster.expect(5, "DBSIZE", ":2")?;
    cluster.nodes()[2].process().stop()?;
    let began = Instant::now();
    assert!(held.renew().is_err_and(|error| error.is_unavailable()));
    assert!(began.elapsed() < LIMIT * 4, "it took {:?}", began.elapsed());
    other.renew()?;
    eventually(FAIL_OVER, || held.renew())?;
    // The old master answers again, and does not count any more.
    cluster.nodes()[2].process().go_on()?;
    held.renew()?;
    held.release()?;
    other.release()?;
    Ok(())
}

fn locks_survive_a_fail_over_that_the_cluster_was_asked_for() -> Outcome {
    let mut cluster = servers::cluster()?;
    let store = open(&cluster)?;
    let names: Vec<String> = (0..3).map(|place| name_at(&mut cluster, place).0).collect();
    let held: Vec<_> = names
        .iter()
        .map(|name| Lock::new(&store, name).ttl(Duration::from_secs(60)).try_acquire())
        .collect::<Result<_>>()?;
    for place in 3..6 {
        cluster.expect(place, "DBSIZE", ":2")?;
        cluster.expect(place, "CLUSTER FAILOVER TAKEOVER", "+OK")?;
        cluster.expect(place, "ROLE", "master")?;
    }
    for held in &held {
        eventually(FAIL_OVER, || held.renew())?;
    }
    for (name, held) in names.iter().zip(held) {
        assert!(Lock::new(&store, name).try_acquire().is_err_and(|error| error.is_contended()));
        held.release()?;
    }
    Ok(())
}

fn many_that_are_kept_are_renewed_at_all_masters_whoever_they_are() -> Outcome {
    let cluster = servers::cluster()?;
    let settings = Settings::default().with_lease(Duration::from_millis(1500))?;
    let store = Redis::builder(&cluster.url()).settings(settings).connect()?;
    let held: Vec<_> = (0..30)
        .map(|n| Lock::new(&store, format!("{n}")).keep_alive().try_acquire())
        .collect::<Result<_>>()?;
    thread::sleep(Duration::from_secs(2));
    assert!(held.iter().all(|held| held.status() == Status::Held));
    // The old masters live, and send those who come to the new ones.
    for place in 3..6 {
        cluster.expect(place, "CLUSTER FAILOVER", "+OK")?;
        cluster.expect(place, "ROLE", "master")?;
    }
    thread::sleep(Duration::from_secs(3));
    for held in held {
        assert_eq!(held.status(), Status::Held);
        held.release()?;
    }
    Ok(())
}

fn all_masters_are_searched_for_locks() -> Outcome {
    let mut cluster = servers::cluster()?;
    let store = open(&cluster)?;
    let names: Vec<String> = (0..3).map(|place| name_at(&mut cluster, place).0).collect();
    let held: Vec<_> =
        names.iter().map(|name| Lock::new(&store, name).try_acquire()).collect::<Result<_>>()?;
    let mut seen: Vec<_> = store.list("at")?.iter().map(|holder| holder.name().to_string()).collect();
    seen.sort();
    assert_eq!(seen, names);
    assert!(!store.diagnose().is_empty());
    held.into_iter().try_for_each(|held| held.release())?;
    Ok(())
}

fn who_waits_hears_of_a_release_through_another_node() -> Outcome {
    let mut cluster = servers::cluster()?;
    let (store, other) = (open(&cluster)?, open(&cluster)?);
    for place in 0..3 {
        let (name, _) = name_at(&mut cluster, place);
        let held = Lock::new(&store, &name).ttl(Duration::from_secs(60)).try_acquire()?;
        let (waiting, waited) = (other.clone(), name.clone());
        let waiter = thread::spawn(move || Lock::new(&waiting, waited).acquire().map(|_| Instant::now()));
        while other.site().waiting(&format!("lock:{name}")) == 0 {
            thread::sleep(Duration::from_millis(5));
        }
        // Time to listen and to look once more.
        thread::sleep(Duration::from_millis(500));
        let released = Instant::now();
        held.release()?;
        let got = waiter.join().expect("it does not panic")?;
        let took = got.saturating_duration_since(released);
        assert!(took < Duration::from_secs(1), "{place}: it took {took:?}");
    }
    Ok(())
}

fn one_node_that_lives_is_enough_to_find_the_cluster() -> Outcome {
    let mut cluster = servers::cluster()?;
    let alive = cluster.nodes()[4].port();
    let url = format!("redis+cluster://127.0.0.1:1,127.0.0.1:{alive}");
    let store = Redis::builder(&url).connect_timeout(LIMIT).io_timeout(LIMIT).connect()?;
    for place in 0..3 {
        let (name, _) = name_at(&mut cluster, place);
        Lock::new(&store, name).try_acquire()?.release()?;
    }
    let error = Redis::builder("redis+cluster://127.0.0.1:1,127.0.0.1:2").connect_timeout(LIMIT).connect();
    let error = error.expect_err("nobody is there");
    assert!(error.is_unavailable(), "{error:?}");
    Ok(())
}

fn what_is_no_cluster_is_misconfigured() -> Outcome {
    let server = servers::redis()?;
    let url = format!("redis+cluster://127.0.0.1:{}", server.port());
    let error = Redis::connect(&url).expect_err("it is one server");
    assert!(error.is_misconfigured() && error.to_string().contains("redis://"), "{error:?}");
    let cluster = servers::cluster()?;
    let mut cluster = cluster;
    let url = format!("redis://127.0.0.1:{}", cluster.nodes()[0].port());
    let (name, _) = name_at(&mut cluster, 1);
    let error = Lock::new(&Redis::connect(&url)?, name).try_acquire().expect_err("it is another's");
    assert!(error.is_unavailable() && error.to_string().contains("redis+cluster://"), "{error:?}");
    Ok(())
}
