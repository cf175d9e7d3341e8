//! Losing a lock: everybody who waits for it is told, once, and nobody after a release.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use tenure_core::aio::{self, block_on};
use tenure_core::sync::{advance, settle, thread};
use tenure_core::testing::Clock;
use tenure_core::{Cause, Lock, Moment, Status, release_all};

use crate::explore::explore;
use crate::store::{LEASE, Store};
use crate::take_part::{draw, poll_times};

const TTL: Duration = Duration::from_millis(20);

/// A drawn way to lose a lock, and why it is lost then.
fn lose(store: &Store) -> Cause {
    match draw(4) {
        0 => {
            store.revoke("a", Cause::Forced);
            Cause::Forced
        }
        1 => {
            // The next renewal finds it gone.
            store.lose("a");
            settle();
            advance(LEASE / 2);
            Cause::Superseded
        }
        2 => {
            store.set_down(true);
            (0..4).for_each(|_| advance(LEASE / 2));
            // The engine's thread may have looked at the clock before, and gone to sleep after that.
            settle();
            advance(LEASE);
            Cause::Expired
        }
        _ => {
            assert!(release_all().is_empty());
            Cause::Released
        }
    }
}

#[test]
fn a_loss_is_told_to_all_threads_and_callbacks_once() {
    explore(|| {
        let store = Store::new();
        let held = Arc::new(Lock::new(&store, "a").acquire().unwrap());
        let told = Arc::new(AtomicUsize::new(0));
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let (held, told) = (held.clone(), told.clone());
                thread::spawn(move || {
                    held.on_lost(move |_| {
                        told.fetch_add(1, SeqCst);
                    });
                    held.lost()
                })
            })
            .collect();
        let cause = lose(&store);
        for thread in threads {
            assert_eq!(thread.join().unwrap(), cause);
        }
        settle();
        assert_eq!(told.load(SeqCst), 2);
        assert_eq!(held.status(), Status::Lost(cause));
        assert_eq!(Arc::into_inner(held).unwrap().release().unwrap_err().cause(), Some(cause));
        store.set_down(false);
        (0..2).for_each(|_| advance(LEASE));
        store.nothing_is_left("a");
    });
}

#[test]
fn a_loss_is_told_to_all_tasks_and_ends_what_they_guard() {
    explore(|| {
        let store = Store::new();
        let held = Arc::new(block_on(aio::Lock::new(&store, "a").acquire()).unwrap());
        let waits = |how: usize| {
            let held = held.clone();
            thread::spawn(move || match how {
                0 => Some(block_on(held.lost())),
                1 => block_on(held.guarded(pending::<()>())).unwrap_err().cause(),
                _ => poll_times(draw(4), held.lost()),
            })
        };
        let threads = [waits(0), waits(1), waits(2)];
        let cause = lose(&store);
        for thread in threads {
            assert!(thread.join().unwrap().is_none_or(|told| told == cause));
        }
        assert_eq!(held.status(), Status::Lost(cause));
        drop(held);
        store.set_down(false);
        (0..2).for_each(|_| advance(LEASE));
        store.nothing_is_left("a");
    });
}

#[test]
fn a_release_tells_of_a_loss_or_comes_before_it() {
    explore(|| {
        let store = Store::new();
        let held = Lock::new(&store, "a").acquire().unwrap();
        let told = Arc::new(AtomicUsize::new(0));
        held.on_lost({
            let told = told.clone();
            move |_| {
                told.fetch_add(1, SeqCst);
            }
        });
        let loser = thread::spawn({
            let store = store.clone();
            move || {
                match draw(3) {
                    0 => store.revoke("a", Cause::Forced),
                    1 => advance(LEASE),
                    _ => assert!(release_all().is_empty()),
                };
            }
        });
        let answer = held.release();
        let told_by_then = told.load(SeqCst);
        loser.join().unwrap();
        settle();
        let told = told.load(SeqCst);
        match answer {
            Ok(()) => assert_eq!(told, 0, "told of a loss after its release"),
            Err(error) => {
                assert!(error.is_lost() && told <= 1 && told_by_then <= told, "{error}, told {told}")
            }
        }
        store.nothing_is_left("a");
    });
}

#[test]
fn giving_up_everything_frees_what_is_held_and_nothing_else() {
    explore(|| {
        let store = Store::new();
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let store = store.clone();
                thread::spawn(move || {
                    if draw(2) == 0 {
                        let held = Lock::new(&store, "a").acquire().unwrap();
                        if draw(2) == 0 { drop(held) } else { drop(held.release()) }
                    } else {
                        let held = block_on(aio::Lock::new(&store, "a").acquire()).unwrap();
                        drop(poll_times(draw(4), held.release()));
                    }
                })
            })
            .collect();
        let errors = if draw(2) == 0 { release_all() } else { block_on(aio::release_all()) };
        assert!(errors.is_empty(), "{errors:?}");
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        store.nothing_is_left("a");
    });
}

#[test]
fn a_task_that_gives_up_everything_hears_when_that_is_done() {
    explore(|| {
        let store = Store::new();
        let held = Lock::new(&store, "a").acquire().unwrap();
        assert!(block_on(aio::release_all()).is_empty());
        assert!(!store.is_held("a"));
        assert_eq!(held.release().unwrap_err().cause(), Some(Cause::Released));
    });
}

#[test]
fn every_lease_ends_at_its_deadline_and_not_before() {
    explore(|| {
        let store = Store::new();
        let threads: Vec<_> = [3, 1, 2]
            .map(|times| {
                let store = store.clone();
                thread::spawn(move || {
                    let Ok(held) =
                        Lock::new(&store, "abc".split_at(times).0).ttl(TTL * times as u32).acquire()
                    else {
                        return;
                    };
                    let deadline = held.deadline().unwrap();
                    assert_eq!(held.lost(), Cause::Expired);
                    assert!(Moment::now() >= deadline, "lost before its deadline");
                })
            })
            .into();
        advance(TTL);
        for _ in 0..4 {
            settle();
            advance(TTL);
        }
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

#[test]
fn a_lease_in_a_tests_time_ends_when_that_is_moved() {
    explore(|| {
        let clock = Clock::new();
        let store = Store::on_clock(&clock);
        let held = Lock::new(&store, "a").ttl(TTL).acquire().unwrap();
        let thread = thread::spawn(move || held.lost());
        clock.advance(TTL);
        assert_eq!(thread.join().unwrap(), Cause::Expired);
    });
}

#[test]
fn work_for_a_thread_that_is_about_to_rest_is_done() {
    explore(|| {
        let store = Store::new();
        let lock = Lock::new(&store, "a").ttl(LEASE * 60);
        for _ in 0..2 {
            let held = lock.acquire().unwrap();
            store.set_down(true);
            assert!(held.release().unwrap_err().is_unavailable());
            store.set_down(false);
            // The release is made up for, and soon the lane's thread has nothing more to do.
            settle();
            advance(Duration::from_secs(1));
            settle();
            assert!(!store.is_held("a"));
            let clock = thread::spawn(|| advance(Duration::from_secs(20)));
            let held = lock.acquire().unwrap();
            store.set_down(true);
            assert!(held.release().unwrap_err().is_unavailable());
            store.set_down(false);
            clock.join().unwrap();
            settle();
            advance(Duration::from_secs(1));
            settle();
            assert!(!store.is_held("a"), "nobody made up for the release");
        }
    });
}
