//! Races that a lock in memcached must win, at every phase of the server's second.

use std::process::ExitCode;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use tenure_core::{Backend, Held, Lock, Moment, Release, Result};
use tenure_memcached::Memcached;
use tenure_servers::{self as servers, Outcome, Stop};

fn main() -> ExitCode {
    let tests = servers::tests![
        one_of_four_takes_over_what_has_ended,
        a_release_at_any_phase_of_the_servers_second_frees_nobody_elses_lock,
        a_lease_ends_early_at_no_phase_of_the_servers_second,
        a_lease_that_nobody_looked_at_is_not_over_early,
        a_dead_holders_short_lease_is_over_long_before_the_server_says_so,
    ];
    servers::run_at_once(
        "memcached",
        tests.len(),
        tests.iter().map(|(name, test)| {
            let test: Box<dyn FnOnce() -> Outcome + Send> = Box::new(*test);
            ((*name).to_owned(), test)
        }),
    )
}

fn open(server: &servers::Memcached) -> Result<Memcached> {
    Memcached::builder(&server.url()).without_quarantine().connect()
}

/// Takes a lock and forgets about it, as a process that dies.
fn leave(store: &Memcached, name: &str, ttl: Duration) -> Result<()> {
    drop(Lock::new(store, name).ttl(ttl).release_on_drop(false).try_acquire()?);
    Ok(())
}

fn sleep_until(moment: Moment) {
    loop {
        match moment.since(Moment::now()) {
            Duration::ZERO => return,
            left => thread::sleep(left),
        }
    }
}

fn one_of_four_takes_over_what_has_ended() -> Outcome {
    const ROUNDS: usize = 300;
    let server = servers::memcached()?;
    let stores: Vec<Memcached> = (0..4).map(|_| open(&server)).collect::<Result<_>>()?;
    let ttl = Duration::from_millis(600);
    let names: Vec<String> = (0..ROUNDS).map(|round| format!("over/{round}")).collect();
    for name in &names {
        leave(&stores[0], name, ttl)?;
    }
    // Each sees for itself that nobody renews.
    for store in &stores {
        for name in &names {
            assert!(Lock::new(store, name).try_acquire().is_err_and(|error| error.is_contended()));
        }
    }
    sleep_until(Moment::now() + ttl * 11 / 10);
    let (start, won) = (Barrier::new(4), [const { AtomicUsize::new(0) }; ROUNDS]);
    let kept: Vec<Lock<Memcached, Held>> = thread::scope(|scope| {
        let race = |store| {
            let (start, won, names) = (&start, &won, &names);
            move || {
                let mut kept = Vec::new();
                for (name, won) in names.iter().zip(won) {
                    start.wait();
                    if let Ok(held) = Lock::new(store, name).try_acquire() {
                        won.fetch_add(1, Ordering::SeqCst);
                        kept.push(held);
                    }
                }
                kept
            }
        };
        let racers: Vec<_> = stores.iter().map(|store| scope.spawn(race(store))).collect();
        racers.into_iter().flat_map(|racer| racer.join().expect("no racer panics")).collect()
    });
    let wrong: Vec<_> = won.iter().map(|won| won.load(Ordering::SeqCst)).filter(|won| *won != 1).collect();
    assert!(wrong.is_empty(), "of {ROUNDS} races {} had not one winner: {wrong:?}", wrong.len());
    assert_eq!(kept.len(), ROUNDS);
    Ok(())
}

fn a_release_at_any_phase_of_the_servers_second_frees_nobody_elses_lock() -> Outcome {
    const NAMES: usize = 1000;
    let server = servers::memcached()?;
    let (store, other) = (open(&server)?, open(&server)?);
    let began = Moment::now();
    // Taken at every phase of a second, and so over at every phase of another, four to five later.
    let mut late = Vec::new();
    for index in 0..NAMES {
        sleep_until(began + Duration::from_millis(index as u64));
        let lock =
            Lock::new(&store, format!("second/{index}")).ttl(Duration::from_secs(1)).release_on_drop(false);
        let held = lock.try_acquire()?;
        late.push((lock.claim_as(held.owner())?, held));
    }
    sleep_until(began + Duration::from_millis(3900));
    let next = thread::scope(|scope| -> Result<Vec<Lock<Memcached, Held>>> {
        // Each release comes once, before the server's second is over or after it, as chance will have it.
        let due = |index: usize| began + Duration::from_millis((index + 4000 + index * 7919 % 1200) as u64);
        let mut order: Vec<usize> = (0..NAMES).collect();
        order.sort_by_key(|index| due(*index));
        let (late, store) = (&late, &store);
        let releases = scope.spawn(move || {
            for index in order {
                sleep_until(due(index));
                let (claim, held) = &late[index];
                let _ = store.release(Release::new(claim, held.grant(), None));
            }
        });
        let names: Vec<String> = (0..NAMES).map(|index| format!("second/{index}")).collect();
        let mut next = Vec::new();
        let mut left: Vec<&String> = names.iter().collect();
        let taking = loop {
            let mut failed = None;
            left.retain(|name| {
                match Lock::new(&other, name.as_str()).ttl(Duration::from_secs(60)).try_acquire() {
                    Ok(held) => {
                        next.push(held);
                        false
                    }
                    Err(error) if error.is_contended() => true,
                    Err(error) => {
                        failed = Some(error);
                        true
                    }
                }
            });
            if let Some(error) = failed {
                break Err(error);
            }
            if left.is_empty() {
                break Ok(next);
            }
        };
        releases.join().expect("releasing does not panic");
        taking
    })?;
    let freed: Vec<_> = next.iter().filter_map(|held| held.renew().err()).collect();
    assert!(freed.is_empty(), "{} of {NAMES} were freed by a late release: {:?}", freed.len(), freed.first());
    Ok(())
}

const LEASES: [u64; 4] = [300, 1000, 1500, 2000];

/// Runs a test with each lease at twenty phases of a second, all at once.
fn at_all_phases(store: &Memcached, test: impl Fn(&str, Duration, Moment) -> Outcome + Sync) -> Outcome {
    thread::scope(|scope| {
        let each = LEASES.iter().flat_map(|millis| (0..20).map(move |phase| (*millis, phase)));
        let running: Vec<_> = each
            .map(|(millis, phase)| {
                let test = &test;
                scope.spawn(move || -> Outcome {
                    sleep_until(Moment::now() + Duration::from_millis(50) * phase);
                    let (name, ttl) = (format!("early/{millis}/{phase}"), Duration::from_millis(millis));
                    let began = Moment::now();
                    leave(store, &name, ttl)?;
                    test(&name, ttl, began)
                })
            })
            .collect();
        running
            .into_iter()
            .try_for_each(|test| test.join().unwrap_or_else(|_| Err(Stop::failed("a phase panicked"))))
    })
}

fn a_lease_ends_early_at_no_phase_of_the_servers_second() -> Outcome {
    let server = servers::memcached()?;
    let (store, other) = (open(&server)?, open(&server)?);
    at_all_phases(&store, |name, ttl, began| {
        let lock = Lock::new(&other, name);
        let free = loop {
            match lock.try_acquire() {
                Ok(held) => break held,
                Err(error) if error.is_contended() => thread::sleep(Duration::from_millis(5)),
                Err(error) => return Err(error.into()),
            }
        };
        let lasted = Moment::now().since(began);
        assert!(lasted >= ttl, "{name} lasted {lasted:?}");
        assert!(lasted < ttl * 2 + Duration::from_secs(2), "{name} lasted {lasted:?}");
        free.release()?;
        Ok(())
    })
}

fn a_lease_that_nobody_looked_at_is_not_over_early() -> Outcome {
    let server = servers::memcached()?;
    let (store, other) = (open(&server)?, open(&server)?);
    at_all_phases(&store, |name, ttl, began| {
        sleep_until(began + ttl - Duration::from_millis(2));
        let answer = Lock::new(&other, name).try_acquire();
        if Moment::now() < began + ttl {
            let contended = answer.as_ref().is_err_and(|error| error.is_contended());
            assert!(contended, "{name} was over {:?} early: {answer:?}", (began + ttl).since(Moment::now()));
        }
        Ok(())
    })
}

fn a_dead_holders_short_lease_is_over_long_before_the_server_says_so() -> Outcome {
    let server = servers::memcached()?;
    let (store, other) = (open(&server)?, open(&server)?);
    leave(&store, "dead", Duration::from_millis(300))?;
    let began = Moment::now();
    let held = Lock::new(&other, "dead").acquire()?;
    let took = Moment::now().since(began);
    assert!(took < Duration::from_secs(2), "it took {took:?}, as long as the server keeps it");
    held.release()?;
    Ok(())
}
