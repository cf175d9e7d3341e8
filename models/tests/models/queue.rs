//! The queue of a store in local memory: threads and tasks that wait, give up, expire and are broken.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use shuttle::thread::yield_now;
use tenure_core::aio::{self, block_on};
use tenure_core::sync::{advance, settle, thread};
use tenure_core::{Breaking, Cause, Inspect, Lock, Name, Settings};
use tenure_locmem::LocMem;

use crate::explore::explore;
use crate::take_part::{Room, draw, poll_times, take_part};

const KEY: &str = "lock:a";

/// Nobody waits, and the lock is free.
fn nothing_is_left(store: &LocMem) {
    assert_eq!(store.waiting(KEY), 0, "somebody still stands in line");
    Lock::new(store, "a").try_acquire().expect("the lock is free").release().unwrap();
}

fn wait_for_queue(store: &LocMem, length: usize) {
    while store.waiting(KEY) < length {
        yield_now();
    }
}

#[test]
fn whoever_comes_and_goes_in_whatever_manner_nobody_is_forgotten() {
    explore(|| {
        let store = LocMem::for_this_process_only();
        let room = Arc::new(Room::default());
        let threads: Vec<_> = (0..3)
            .map(|_| {
                let (store, room) = (store.clone(), room.clone());
                thread::spawn(move || (0..2).for_each(|_| take_part(&store, "a", &room)))
            })
            .collect();
        (0..3).for_each(|_| advance(Duration::from_millis(10)));
        room.visit(Lock::new(&store, "a").acquire().unwrap().fence().get());
        (0..2).for_each(|_| advance(Duration::from_millis(30)));
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        nothing_is_left(&store);
    });
}

#[test]
fn whoever_queued_first_is_served_first() {
    explore(|| {
        let store = LocMem::for_this_process_only();
        let held = Lock::new(&store, "a").acquire().unwrap();
        let served = Arc::new(AtomicUsize::new(0));
        let wait = |place: usize| {
            let (store, served) = (store.clone(), served.clone());
            thread::spawn(move || {
                let done = || assert_eq!(served.fetch_add(1, Ordering::SeqCst), place, "out of order");
                if draw(2) == 0 {
                    let held = Lock::new(&store, "a").acquire().unwrap();
                    done();
                    held.release().unwrap();
                } else {
                    let held = block_on(aio::Lock::new(&store, "a").acquire()).unwrap();
                    done();
                    block_on(held.release()).unwrap();
                }
            })
        };
        let first = wait(0);
        wait_for_queue(&store, 1);
        // One comes while the lock is handed over; one asks without queueing, and overtakes nobody.
        let second = wait(1);
        let hasty = thread::spawn({
            let (store, served) = (store.clone(), served.clone());
            move || {
                if let Ok(held) = Lock::new(&store, "a").try_acquire() {
                    assert!(served.load(Ordering::SeqCst) > 0, "it overtook");
                    drop(held);
                }
            }
        });
        held.release().unwrap();
        for thread in [first, second, hasty] {
            thread.join().unwrap();
        }
        nothing_is_left(&store);
    });
}

#[test]
fn an_abandoned_wait_passes_on_what_was_handed_to_it() {
    explore(|| {
        let store = LocMem::for_this_process_only();
        let held = Lock::new(&store, "a").acquire().unwrap();
        let dropped = thread::spawn({
            let store = store.clone();
            move || drop(poll_times(1 + draw(6), aio::Lock::new(&store, "a").acquire()))
        });
        let limited = thread::spawn({
            let store = store.clone();
            move || Lock::new(&store, "a").acquire_for(Duration::from_millis(5)).map(drop)
        });
        let patient = thread::spawn({
            let store = store.clone();
            move || drop(Lock::new(&store, "a").acquire().unwrap())
        });
        let clock = thread::spawn(|| advance(Duration::from_millis(5)));
        held.release().unwrap();
        for thread in [dropped, patient, clock] {
            thread.join().unwrap();
        }
        // Another one may have begun to count only then.
        advance(Duration::from_millis(5));
        let answer = limited.join().unwrap();
        assert!(answer.is_ok() || answer.is_err_and(|error| error.is_timed_out()));
        nothing_is_left(&store);
    });
}

#[test]
fn a_lease_that_runs_out_frees_the_lock_for_all_who_queue() {
    let ttl = Duration::from_millis(20);
    explore(move || {
        let store = LocMem::for_this_process_only();
        // One without an end, of which those who queue learn nothing about the ones after it.
        let first = Lock::new(&store, "a").acquire().unwrap();
        let waiters: Vec<_> = (0..3)
            .map(|_| {
                let store = store.clone();
                thread::spawn(move || {
                    // A thread that sleeps through the whole of its lease has it no more.
                    let Ok(held) = Lock::new(&store, "a").ttl(ttl).acquire() else { return };
                    if draw(2) == 0 {
                        // Sits on it until it is lost.
                        assert_eq!(held.lost(), Cause::Expired);
                        assert!(held.release().is_err_and(|error| error.is_lost()));
                    }
                })
            })
            .collect();
        first.release().unwrap();
        for _ in 0..4 {
            settle();
            advance(ttl + Duration::from_millis(5));
        }
        waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
        nothing_is_left(&store);
    });
}

#[test]
fn a_lease_that_is_shortened_frees_the_lock_for_who_queues_meanwhile() {
    let (long, short) = (Duration::from_secs(60), Duration::from_millis(20));
    explore(move || {
        let store = LocMem::for_this_process_only();
        let held = Lock::new(&store, "a").ttl(long).acquire().unwrap();
        let waiter = thread::spawn({
            let store = store.clone();
            move || drop(Lock::new(&store, "a").acquire().unwrap())
        });
        held.renew_for(short).unwrap();
        settle();
        advance(short);
        // The waiter asks a little after the end.
        settle();
        advance(short);
        waiter.join().unwrap();
        assert!(held.release().is_err_and(|error| error.is_lost()));
        nothing_is_left(&store);
    });
}

#[test]
fn a_name_that_is_kept_closed_opens_for_those_who_queue() {
    let least = Duration::from_millis(20);
    explore(move || {
        let store = LocMem::for_this_process_only();
        let threads: Vec<_> = (0..3)
            .map(|_| {
                let store = store.clone();
                thread::spawn(move || drop(Lock::new(&store, "a").hold_at_least(least).acquire().unwrap()))
            })
            .collect();
        for _ in 0..4 {
            settle();
            advance(least);
        }
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        advance(least);
        nothing_is_left(&store);
    });
}

#[test]
fn two_handles_of_one_store_queue_together() {
    explore(|| {
        let store = LocMem::for_this_process_only();
        let other = store.share_with_settings(Settings::default());
        let room = Arc::new(Room::default());
        let threads: Vec<_> = [store.clone(), other.clone(), other]
            .map(|store| {
                let room = room.clone();
                thread::spawn(move || take_part(&store, "a", &room))
            })
            .into_iter()
            .collect();
        advance(Duration::from_millis(30));
        advance(Duration::from_millis(30));
        room.visit(Lock::new(&store, "a").acquire().unwrap().fence().get());
        advance(Duration::from_millis(30));
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        nothing_is_left(&store);
    });
}

#[test]
fn a_broken_lock_is_told_to_those_who_wait_for_its_loss() {
    explore(|| {
        let store = LocMem::for_this_process_only();
        let breaking = if draw(2) == 0 { Breaking::Now } else { Breaking::Safe };
        let name = Name::new("a").unwrap();
        let broken = if draw(2) == 0 {
            let held = Lock::new(&store, "a").acquire().unwrap();
            thread::spawn(move || held.lost())
        } else {
            let held = block_on(aio::Lock::new(&store, "a").acquire()).unwrap();
            thread::spawn(move || block_on(held.lost()))
        };
        store.force_release(&name, breaking, "a model").unwrap();
        assert_eq!(broken.join().unwrap(), Cause::Forced);
        nothing_is_left(&store);
    });
}

#[test]
fn a_broken_lock_is_told_once_and_the_next_one_gets_it() {
    explore(|| {
        let store = LocMem::for_this_process_only();
        let breaking = if draw(2) == 0 { Breaking::Now } else { Breaking::Safe };
        let (told, ends) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let held = Lock::new(&store, "a").acquire().unwrap();
        held.on_lost({
            let told = told.clone();
            move |cause| {
                assert_eq!(cause, Cause::Forced);
                told.fetch_add(1, Ordering::SeqCst);
            }
        });
        let fence = held.fence();
        let waiter = thread::spawn({
            let (store, ends) = (store.clone(), ends.clone());
            move || {
                let held = Lock::new(&store, "a").acquire().unwrap();
                assert!(held.fence() > fence);
                assert!(breaking == Breaking::Now || ends.load(Ordering::SeqCst), "two hold it");
                // It may be this one that is broken.
                if let Err(error) = held.release() {
                    assert_eq!(error.cause(), Some(Cause::Forced), "{error}");
                }
            }
        });
        let breaker = thread::spawn({
            let store = store.clone();
            move || drop(store.force_release(&Name::new("a").unwrap(), breaking, "a model").unwrap())
        });
        ends.store(true, Ordering::SeqCst);
        let answer = held.release();
        for thread in [waiter, breaker] {
            thread.join().unwrap();
        }
        settle();
        match answer {
            Ok(()) => assert_eq!(told.load(Ordering::SeqCst), 0, "told of a loss after its release"),
            Err(error) => {
                assert_eq!(error.cause(), Some(Cause::Forced), "{error}");
                // If the release had begun before the news came, its answer is all there is.
                assert!(told.load(Ordering::SeqCst) <= 1);
            }
        }
        nothing_is_left(&store);
    });
}
