//! What a lock in local memory tells to `tracing` and `metrics`.
#![cfg(all(feature = "tracing", feature = "metrics", feature = "locmem"))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

#[allow(dead_code, unreachable_pub, reason = "shared with the tests of core, which use all of it")]
#[path = "../core/tests/observe/watch.rs"]
mod watch;

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use tenure::aio::{self, block_on};
use tenure::{Breaking, Cause, Inspect, LocMem, Lock, Name};
use tracing::Level;
use watch::{Meters, Told, watched};

/// What is told of a grant, a renewal, and a loss at the hands of an operator; then of two who come
/// when somebody has the lock, and the one of them who waits.
const LIFE: [(&str, Level); 9] = [
    ("lock granted", Level::DEBUG),
    ("lock renewed", Level::TRACE),
    ("lock lost", Level::WARN),
    ("lock force-released", Level::WARN),
    ("lock contended", Level::DEBUG),
    ("lock contended", Level::DEBUG),
    ("waiting for a lock that this very process holds", Level::WARN),
    ("lock granted", Level::DEBUG),
    ("lock released", Level::DEBUG),
];

fn check(events: &[Told], meters: &Meters) {
    let told: Vec<_> = events.iter().map(|told| (told.what.as_str(), told.level)).collect();
    assert_eq!(told, LIFE);
    assert!(events.iter().all(|told| (told.text("store"), told.text("lock")) == ("mem:", "a")));
    let (granted, lost, waited, released) = (&events[0], &events[2], &events[7], &events[8]);
    assert_eq!(granted.number("attempts"), 1.0);
    assert_eq!((lost.text("cause"), lost.text("fence")), ("forced", granted.text("fence")));
    assert!(waited.number("fence") > granted.number("fence"));
    assert!(waited.number("waited") >= WAIT.as_secs_f64());
    assert_eq!(waited.text("fence"), released.text("fence"));
    assert!(released.number("held") >= 0.02);
    for (outcome, count) in [("granted", 2), ("contended", 1)] {
        let outcome = Some(("outcome", outcome));
        assert_eq!(meters.counter("tenure_acquisitions_total", outcome), count);
        assert_eq!(meters.histogram("tenure_wait_seconds", outcome).len() as u64, count);
    }
    assert_eq!(meters.counter("tenure_contentions_total", None), 2);
    assert_eq!(meters.counter("tenure_renewals_total", Some(("outcome", "renewed"))), 1);
    assert_eq!(meters.counter("tenure_losses_total", Some(("cause", "forced"))), 1);
    assert_eq!(meters.counter("tenure_force_releases_total", None), 1);
    assert_eq!(meters.counter("tenure_releases_total", Some(("outcome", "released"))), 1);
    assert_eq!(meters.histogram("tenure_hold_seconds", None).len(), 2);
    assert_eq!((meters.gauge("tenure_held"), meters.gauge("tenure_waiting")), (0.0, 0.0));
}

/// Takes the lock away from whoever has it.
fn take_away(store: &LocMem) {
    store.force_release(&Name::new("a").unwrap(), Breaking::Now, "host is gone").unwrap().unwrap();
}

#[cfg(feature = "fs")]
#[test]
fn a_lock_in_a_folder_that_is_taken_away_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let ((), spans, meters) = watched(|_, _| {
        let store = tenure::Files::open(folder.path()).unwrap();
        let held = Lock::new(&store, "a").acquire().unwrap();
        store.force_release(&Name::new("a").unwrap(), Breaking::Safe, "host is gone").unwrap().unwrap();
        assert!(held.release().is_err_and(|error| error.cause() == Some(Cause::Forced)));
    });
    let events = spans.events();
    let told = events.iter().find(|told| told.what == "lock force-released").unwrap();
    assert_eq!(told.text("store"), format!("file:{}", folder.path().display()));
    assert_eq!((told.text("breaking"), told.text("reason")), ("safe", "host is gone"));
    assert_eq!(told.text("fence"), events[0].text("fence"));
    assert_eq!(meters.counter("tenure_losses_total", Some(("cause", "forced"))), 1);
}

/// For how long whoever waits does so, at least.
const WAIT: Duration = Duration::from_millis(20);

/// Does something while another thread, of which nothing is told, has the lock until somebody has waited
/// for a while.
fn beside_another(store: &LocMem, work: impl FnOnce()) {
    thread::scope(|scope| {
        let (ready, is_ready) = mpsc::channel();
        scope.spawn(move || {
            let held = Lock::new(store, "a").acquire().unwrap();
            ready.send(()).unwrap();
            while store.waiting("lock:a") == 0 {
                thread::yield_now();
            }
            thread::sleep(WAIT);
            drop(held);
        });
        is_ready.recv().unwrap();
        work();
    });
}

#[test]
fn a_lock_that_blocks_tells_its_life() {
    let ((), spans, meters) = watched(|_, _| {
        let store = LocMem::for_this_process_only();
        let lock = Lock::new(&store, "a");
        let held = lock.acquire().unwrap();
        held.renew().unwrap();
        held.on_lost(|_| {});
        take_away(&store);
        assert_eq!(held.lost(), Cause::Forced);
        beside_another(&store, || {
            assert!(lock.try_acquire().is_err_and(|error| error.is_contended()));
            let held = lock.acquire().unwrap();
            thread::sleep(Duration::from_millis(20));
            held.release().unwrap();
        });
    });
    check(&spans.events(), &meters);
}

#[test]
fn a_lock_that_is_awaited_tells_its_life() {
    let ((), spans, meters) = watched(|_, _| {
        let store = LocMem::for_this_process_only();
        let lock = aio::Lock::new(&store, "a");
        let held = block_on(lock.acquire()).unwrap();
        block_on(held.renew()).unwrap();
        held.on_lost(|_| {});
        take_away(&store);
        assert_eq!(block_on(held.lost()), Cause::Forced);
        beside_another(&store, || {
            assert!(block_on(lock.try_acquire()).is_err_and(|error| error.is_contended()));
            let held = block_on(lock.acquire()).unwrap();
            thread::sleep(Duration::from_millis(20));
            block_on(held.release()).unwrap();
        });
    });
    check(&spans.events(), &meters);
}
