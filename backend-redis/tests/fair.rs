//! Locks that are handed on in order: who gets them, how often the server is asked, and that nothing
//! that dies or gives up in the queue does harm.

#![expect(clippy::print_stdout, reason = "what was measured is shown to who asks for it by --nocapture")]

use std::process::ExitCode;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tenure_core::{Backend, Lock, Moment, Owner, Result, Settings, wall_micros};
use tenure_redis::Redis;
use tenure_servers::{self as servers, Outcome};

/// Each store stands for a process: it has lines, connections and places in queues of its own.
fn main() -> ExitCode {
    let tests = servers::tests![
        processes_are_served_in_the_order_in_which_they_asked,
        a_hand_off_takes_hardly_more_than_one_attempt,
        a_hand_off_between_tasks_takes_hardly_more_than_one_attempt,
        a_thousand_waiters_of_four_processes_are_four_at_the_server,
        waits_that_are_abandoned_and_holders_that_die_let_nobody_in_twice,
        a_waiter_that_died_in_the_queue_is_passed_over,
        a_lost_message_costs_no_more_than_the_recheck_interval,
        readers_and_writers_are_served_in_order,
    ];
    servers::run("redis", tests)
}

fn open(server: &servers::Redis) -> Result<Redis> {
    open_with(server, Settings::default())
}

fn open_with(server: &servers::Redis, settings: Settings) -> Result<Redis> {
    Redis::builder(&server.url()).settings(settings).fair().connect()
}

/// Waits for something that must come about, and fails if it does not.
fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(10);
    while !is_so() {
        assert!(Instant::now() < until, "expected {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// How many stand in the queue of a lock.
fn queued(server: &servers::Redis, name: &str) -> u32 {
    let answer = server.command(&format!("ZCARD ~q:{{lock:{name}}}")).unwrap_or_default();
    answer.trim_start_matches(':').trim().parse().unwrap_or(0)
}

/// How many scripts the server has run since its statistics were reset.
fn scripts_run(server: &servers::Redis) -> u32 {
    let stats = server.command("INFO commandstats").unwrap_or_default();
    let calls = |command: &str| {
        let line = stats.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")));
        line.and_then(|line| line.split(',').next()).and_then(|calls| calls.parse().ok()).unwrap_or(0)
    };
    calls("eval") + calls("evalsha")
}

fn processes_are_served_in_the_order_in_which_they_asked() -> Outcome {
    let server = servers::Redis::with(&[])?;
    let stores = (0..6).map(|_| open(&server)).collect::<Result<Vec<_>>>()?;
    for name in ["a", "b", "c"] {
        let held = Lock::new(&stores[0], name).acquire()?;
        let served = Mutex::new(Vec::new());
        thread::scope(|scope| {
            for (index, store) in stores.iter().enumerate().skip(1) {
                let served = &served;
                scope.spawn(move || {
                    let held = Lock::new(store, name).acquire().expect("the server is up");
                    served.lock().unwrap_or_else(PoisonError::into_inner).push((index, held.fence()));
                    held.release().expect("it is held");
                });
                eventually("a place in the queue", || queued(&server, name) as usize == index);
            }
            held.release()
        })?;
        let served = served.into_inner().unwrap_or_else(PoisonError::into_inner);
        let order: Vec<_> = served.iter().map(|(index, _)| *index).collect();
        assert_eq!(order, [1, 2, 3, 4, 5]);
        assert!(served.is_sorted_by_key(|(_, fence)| *fence), "{served:?}");
        assert_eq!(queued(&server, name), 0);
    }
    Ok(())
}

/// Lets some threads of each store take a lock in turn; returns how often each did, and how often the
/// server was asked for each.
fn in_turn(server: &servers::Redis, stores: &[Redis], threads: usize, rounds: u64) -> Result<f64> {
    let turns = AtomicU64::new(0);
    let inside = AtomicU32::new(0);
    server.command("CONFIG RESETSTAT").expect("the server is up");
    thread::scope(|scope| {
        for store in stores {
            for _ in 0..threads {
                let (turns, inside) = (&turns, &inside);
                scope.spawn(move || {
                    for _ in 0..rounds {
                        let held = Lock::new(store, "busy").acquire().expect("the server is up");
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "two hold it");
                        turns.fetch_add(1, Ordering::SeqCst);
                        inside.fetch_sub(1, Ordering::SeqCst);
                        held.release().expect("it is held");
                    }
                });
            }
        }
    });
    let turns = turns.into_inner() as f64;
    // Each release is a request too.
    Ok((f64::from(scripts_run(server)) - turns) / turns)
}

fn a_hand_off_takes_hardly_more_than_one_attempt() -> Outcome {
    let server = servers::Redis::with(&[])?;
    let stores = (0..8).map(|_| open(&server)).collect::<Result<Vec<_>>>()?;
    let attempts = in_turn(&server, &stores, 1, 60)?;
    println!("attempts per hand-off, 8 processes of one thread: {attempts:.3}");
    assert!(attempts <= 1.3, "{attempts} attempts for each hand-off");
    Ok(())
}

#[cfg(feature = "async")]
fn a_hand_off_between_tasks_takes_hardly_more_than_one_attempt() -> Outcome {
    use tenure_core::aio;

    const ROUNDS: u32 = 60;
    let server = servers::Redis::with(&[])?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let attempts = runtime.block_on(async {
        let mut tasks = Vec::new();
        for _ in 0..8 {
            let store = Redis::builder(&server.url()).fair().connect_async().await?;
            tasks.push(async move {
                for _ in 0..ROUNDS {
                    aio::Lock::new(&store, "busy").acquire().await?.release().await?;
                }
                Ok::<(), tenure_core::Error>(())
            });
        }
        server.command("CONFIG RESETSTAT")?;
        let tasks: Vec<_> = tasks.into_iter().map(|task| runtime.spawn(task)).collect();
        for task in tasks {
            task.await.expect("it does not panic")?;
        }
        let turns = f64::from(8 * ROUNDS);
        Outcome::Ok((f64::from(scripts_run(&server)) - turns) / turns)
    })?;
    println!("attempts per hand-off, 8 processes of one task: {attempts:.3}");
    assert!(attempts <= 1.3, "{attempts} attempts for each hand-off");
    Ok(())
}

#[cfg(not(feature = "async"))]
fn a_hand_off_between_tasks_takes_hardly_more_than_one_attempt() -> Outcome {
    Err(servers::Stop::Ignored("there are no tasks without the feature async".into()))
}

fn a_thousand_waiters_of_four_processes_are_four_at_the_server() -> Outcome {
    let server = servers::Redis::with(&[])?;
    let stores = (0..4).map(|_| open(&server)).collect::<Result<Vec<_>>>()?;
    let other = open(&server)?;
    let held = Lock::new(&other, "crowd").acquire()?;
    let served = AtomicU32::new(0);
    thread::scope(|scope| -> Outcome {
        for store in &stores {
            for _ in 0..250 {
                let served = &served;
                let wait = move || {
                    let held = Lock::new(store, "crowd").acquire().expect("the server is up");
                    served.fetch_add(1, Ordering::SeqCst);
                    held.release().expect("it is held");
                };
                thread::Builder::new().stack_size(128 * 1024).spawn_scoped(scope, wait)?;
            }
        }
        let waiting = || stores.iter().map(|store| store.site().waiting("lock:crowd")).sum::<usize>();
        eventually("a thousand waiters", || waiting() == 1000);
        eventually("their places in the queue", || queued(&server, "crowd") == 4);
        server.command("CONFIG RESETSTAT")?;
        held.release()?;
        Ok(())
    })?;
    let attempts = (f64::from(scripts_run(&server)) - 1001.0) / 1000.0;
    println!("attempts per hand-off, 1000 waiters of 4 processes: {attempts:.3}");
    assert_eq!(served.into_inner(), 1000);
    assert!(attempts <= 1.3, "{attempts} attempts for each hand-off");
    Ok(())
}

fn waits_that_are_abandoned_and_holders_that_die_let_nobody_in_twice() -> Outcome {
    let server = servers::Redis::with(&[])?;
    let recheck = Duration::from_millis(150);
    let settings = Settings::default().with_recheck(recheck)?;
    let stores = (0..8).map(|_| open_with(&server, settings.clone())).collect::<Result<Vec<_>>>()?;
    let ttl = Duration::from_millis(400);
    let (believed, last) = (Mutex::new(Vec::new()), AtomicU64::new(0));
    let until = Moment::now() + Duration::from_secs(5);
    thread::scope(|scope| {
        for (seed, store) in stores.iter().enumerate() {
            let (believed, last) = (&believed, &last);
            scope.spawn(move || {
                let lock = Lock::new(store, "chaos").ttl(ttl);
                let mortal = lock.clone().release_on_drop(false);
                let mut turn = seed as u64 + 1;
                while Moment::now() < until {
                    turn =
                        turn.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    let dice = turn >> 33;
                    // Some give up at once, some in the middle of it.
                    let limit =
                        if dice.is_multiple_of(8) { Duration::from_millis(dice % 17) } else { ttl * 20 };
                    // Some die while they hold it: nobody releases, and the lease runs out.
                    let dies = dice % 50 == 1;
                    let lock = if dies { &mortal } else { &lock };
                    let Ok(held) = lock.acquire_for(limit) else { continue };
                    let began = Moment::now();
                    let fence = held.fence().get();
                    let before = last.fetch_max(fence, Ordering::SeqCst);
                    assert!(before < fence, "a fence of {fence} after {before}");
                    thread::sleep(Duration::from_micros(dice % 3000));
                    let deadline = held.deadline().expect("it has a lease");
                    let ended = Moment::now().min(deadline);
                    believed.lock().unwrap_or_else(PoisonError::into_inner).push((began, ended, fence));
                    if !dies {
                        drop(held.release());
                    }
                }
            });
        }
    });
    let mut believed = believed.into_inner().unwrap_or_else(PoisonError::into_inner);
    believed.sort_unstable();
    println!("{} grants among abandoned waits and dead holders", believed.len());
    assert!(believed.len() > 100, "only {} grants", believed.len());
    for pair in believed.windows(2) {
        assert!(pair[0].1 <= pair[1].0, "two beliefs overlap: {pair:?}");
        assert!(pair[0].2 < pair[1].2, "a fence went back: {pair:?}");
    }
    eventually("an empty queue", || queued(&server, "chaos") == 0);
    Ok(())
}

/// Puts a waiter into the queue of a lock of which nothing more will be heard.
fn dead_waiter(server: &servers::Redis, name: &str, slot_until: &str) -> std::io::Result<()> {
    let token = Owner::random();
    server.command(&format!("ZADD ~q:{{lock:{name}}} 1 {token}"))?;
    let now = wall_micros() / 1000;
    let place = format!("{slot_until} {now} {now} 500 x 0 0 ~g:nobody dead");
    server.command(&format!("HSET ~p:{{lock:{name}}} {token} \"{place}\""))?;
    Ok(())
}

fn a_waiter_that_died_in_the_queue_is_passed_over() -> Outcome {
    let server = servers::Redis::with(&[])?;
    let (here, there) = (open(&server)?, open(&server)?);
    // Long dead; and dead, but its slot goes on until the year 2200.
    for (name, slot_until, limit) in
        [("a", "1000", Duration::from_millis(400)), ("b", "7258118400000", Duration::from_millis(400))]
    {
        let held = Lock::new(&here, name).acquire()?;
        dead_waiter(&server, name, slot_until)?;
        thread::scope(|scope| -> Outcome {
            let waiter = scope.spawn(|| Lock::new(&there, name).acquire());
            eventually("a place in the queue", || {
                queued(&server, name) >= 1 && there.site().waiting(&format!("lock:{name}")) == 1
            });
            thread::sleep(Duration::from_millis(50));
            // What is handed to the dead is taken by force, as anything that is held is.
            let released = Instant::now();
            held.release()?;
            if name == "b" {
                use tenure_core::{Breaking, Inspect, Name};
                assert!(Lock::new(&here, name).try_acquire().is_err_and(|error| error.is_contended()));
                here.force_release(&Name::new(name)?, Breaking::Now, "its owner is dead")?;
            }
            let next = waiter.join().expect("it waits")?;
            let waited = released.elapsed();
            assert!(waited < limit, "the next one waited {waited:?}");
            next.release()?;
            Ok(())
        })?;
    }
    Ok(())
}

fn a_lost_message_costs_no_more_than_the_recheck_interval() -> Outcome {
    let server = servers::Redis::with(&[])?;
    let recheck = Duration::from_millis(800);
    let settings = Settings::default().with_recheck(recheck)?;
    let (here, there) = (open_with(&server, settings.clone())?, open_with(&server, settings)?);
    let mut longest = Duration::ZERO;
    for _ in 0..3 {
        let held = Lock::new(&here, "a").acquire()?;
        thread::scope(|scope| -> Outcome {
            let waiter = scope.spawn(|| Lock::new(&there, "a").acquire());
            eventually("a place in the queue", || queued(&server, "a") == 1);
            // It hears nothing any more, and does not know.
            let deaf = server.command("CONFIG SET client-output-buffer-limit \"pubsub 1 1 1\"")?;
            assert!(deaf.starts_with("+OK"), "{deaf}");
            server.command("CLIENT KILL TYPE pubsub")?;
            let released = Instant::now();
            held.release()?;
            let next = waiter.join().expect("it waits")?;
            longest = longest.max(released.elapsed());
            next.release()?;
            Ok(())
        })?;
    }
    println!("longest hand-off without a message: {longest:?}, at a recheck of {recheck:?}");
    assert!(longest < recheck * 2, "a lost message cost {longest:?}");
    Ok(())
}

fn readers_and_writers_are_served_in_order() -> Outcome {
    let server = servers::Redis::with(&[])?;
    let stores = (0..5).map(|_| open(&server)).collect::<Result<Vec<_>>>()?;
    let held = Lock::new(&stores[0], "rw").acquire()?;
    let log = Mutex::new(Vec::new());
    let say = |what: &'static str| log.lock().unwrap_or_else(PoisonError::into_inner).push(what);
    let together = std::sync::Barrier::new(2);
    thread::scope(|scope| {
        let in_queue = |count| eventually("a place in the queue", || queued(&server, "rw") == count);
        for (index, store) in stores[1..3].iter().enumerate() {
            let (together, say) = (&together, &say);
            scope.spawn(move || {
                let held = Lock::new(store, "rw").shared().acquire().expect("the server is up");
                // Neither gets past this if the other is not let in beside it.
                together.wait();
                say("reader");
                held.release().expect("it is held");
            });
            in_queue(index as u32 + 1);
        }
        scope.spawn(|| {
            let held = Lock::new(&stores[3], "rw").acquire().expect("the server is up");
            say("writer");
            held.release().expect("it is held");
        });
        in_queue(3);
        scope.spawn(|| {
            let held = Lock::new(&stores[4], "rw").shared().acquire().expect("the server is up");
            say("late reader");
            held.release().expect("it is held");
        });
        in_queue(4);
        held.release()
    })?;
    let log = log.into_inner().unwrap_or_else(PoisonError::into_inner);
    assert_eq!(log, ["reader", "reader", "writer", "late reader"]);
    Ok(())
}
