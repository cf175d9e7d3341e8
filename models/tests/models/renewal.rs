//! Leases that are renewed, lengthened, shortened and released at the same time.

use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use tenure_core::aio::{self, block_on};
use tenure_core::sync::thread::{self, JoinHandle};
use tenure_core::sync::{advance, settle};
use tenure_core::testing::Clock;
use tenure_core::{Cause, Held, Lock, Moment, Status};

use crate::explore::explore;
use crate::store::{LEASE, Store};
use crate::take_part::{allowed, draw, poll_times};

const THIRD: Duration = LEASE.checked_div(3).expect("three is not zero");

/// A drawn request that changes how long a lock is held.
fn change(held: &Lock<Store, Held>) {
    match draw(4) {
        0 => held.keep_alive(),
        1 => drop(held.renew()),
        2 => drop(held.renew_for(LEASE * 3)),
        _ => drop(held.renew_for(LEASE / 2)),
    }
}

#[test]
fn a_released_lock_is_not_brought_back_by_a_renewal_under_way() {
    explore(|| {
        let store = Store::new();
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let store = store.clone();
                thread::spawn(move || {
                    if draw(2) == 0 {
                        let Some(held) = allowed(Lock::new(&store, "a").acquire()) else { return };
                        drop(held.release());
                    } else {
                        let held = allowed(block_on(aio::Lock::new(&store, "a").acquire()));
                        drop(held.map(|held| poll_times(draw(6), held.release())));
                    }
                })
            })
            .collect();
        // So fast that some renewals come late.
        for _ in 0..4 {
            advance(THIRD);
        }
        for _ in 0..4 {
            settle();
            advance(THIRD);
        }
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        settle();
        let renewed = store.renewed();
        advance(LEASE);
        store.nothing_is_left("a");
        assert_eq!(store.renewed(), renewed, "nobody's lease is renewed");
    });
}

#[test]
fn a_holder_never_believes_longer_than_the_store_keeps_the_lock() {
    explore(|| {
        let store = Store::new();
        store.set_doubtful(draw(2) == 0);
        let clock = thread::spawn(|| advance(THIRD / 2));
        let Some(held) = allowed(Lock::new(&store, "a").acquire()) else { return };
        let held = Arc::new(held);
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let held = held.clone();
                thread::spawn(move || (0..2).for_each(|_| change(&held)))
            })
            .collect();
        for _ in 0..6 {
            let before = held.deadline();
            let kept = store.kept_until("a");
            if before == held.deadline() && held.status() != Status::Lost(Cause::Expired) {
                assert!(before <= kept, "believed in until {before:?}, kept until {kept:?}");
            }
            advance(THIRD / 2);
        }
        clock.join().unwrap();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

#[test]
fn a_lock_is_kept_alive_or_left_alone_whoever_asked_for_what_at_the_same_time() {
    explore(|| {
        let store = Store::new();
        let held = Arc::new(Lock::new(&store, "a").ttl(LEASE).acquire().unwrap());
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let held = held.clone();
                thread::spawn(move || (0..2).for_each(|_| change(&held)))
            })
            .collect();
        advance(THIRD / 2);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        settle();
        let renewed = store.renewed();
        for _ in 0..48 {
            advance(THIRD / 2);
            settle();
        }
        let renewals = store.renewed() - renewed;
        match held.status() {
            Status::Held => assert!((8..=28).contains(&renewals), "{renewals} renewals in eight lifetimes"),
            status => assert_eq!((status, renewals), (Status::Lost(Cause::Expired), 0)),
        }
    });
}

#[test]
fn a_renewal_that_takes_its_time_is_waited_for_in_peace() {
    explore(|| {
        let store = Store::new();
        let held = block_on(aio::Lock::new(&store, "a").acquire()).unwrap();
        let mut renewal = Box::pin(held.renew());
        if renewal.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
            return;
        }
        // The engine finds it due, and taken.
        for _ in 0..4 {
            advance(THIRD / 2);
            settle();
        }
        block_on(renewal).unwrap();
        for _ in 0..12 {
            advance(THIRD / 2);
            settle();
        }
        assert_eq!(held.status(), Status::Held);
    });
}

#[test]
fn a_lock_that_is_kept_alive_stays_so_whoever_renews_it_besides() {
    explore(|| {
        let store = Store::new();
        let held = Arc::new(Lock::new(&store, "a").acquire().unwrap());
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let held = held.clone();
                thread::spawn(move || held.renew().unwrap())
            })
            .collect();
        stays_held(threads, || held.status());
    });
}

#[test]
fn a_lock_that_is_kept_alive_stays_so_whatever_task_renews_it_besides() {
    explore(|| {
        let store = Store::new();
        let held = Arc::new(block_on(aio::Lock::new(&store, "a").acquire()).unwrap());
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let held = held.clone();
                thread::spawn(move || drop(poll_times(1 + draw(6), held.renew())))
            })
            .collect();
        stays_held(threads, || held.status());
    });
}

fn stays_held(threads: Vec<JoinHandle<()>>, status: impl Fn() -> Status) {
    advance(THIRD);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    for _ in 0..12 {
        settle();
        advance(THIRD / 2);
    }
    settle();
    assert_eq!(status(), Status::Held);
}

#[test]
fn a_lease_that_was_shortened_is_not_lengthened_by_a_renewal_under_way() {
    explore(|| {
        let store = Store::new();
        let held = Lock::new(&store, "a").acquire().unwrap();
        let clock = thread::spawn(|| advance(THIRD + THIRD / 5));
        let shortened = held.renew_for(LEASE / 2);
        let now = Moment::now();
        clock.join().unwrap();
        settle();
        if allowed(shortened).is_some() {
            assert!(held.deadline() < Some(now + LEASE / 2), "believed in longer than was asked for");
            assert!(store.kept_until("a") <= Some(now + LEASE / 2), "kept longer than was asked for");
        }
    });
}

#[test]
fn a_renewal_dropped_half_way_gives_the_next_one_its_turn() {
    explore(|| {
        let store = Store::new();
        let held = Arc::new(block_on(aio::Lock::new(&store, "a").acquire()).unwrap());
        let dropped = thread::spawn({
            let held = held.clone();
            move || drop(poll_times(draw(6), held.renew_for(LEASE * 2)))
        });
        let waits = thread::spawn({
            let held = held.clone();
            move || block_on(held.renew()).unwrap()
        });
        advance(THIRD);
        dropped.join().unwrap();
        waits.join().unwrap();
        block_on(held.renew()).unwrap();
        assert_eq!(held.status(), Status::Held);
    });
}

#[test]
fn a_lease_in_a_tests_time_is_renewed_by_whoever_moves_it() {
    explore(|| {
        let clock = Clock::new();
        let store = Store::on_clock(&clock);
        let kept = Lock::new(&store, "kept").acquire().unwrap();
        let thread = thread::spawn({
            let store = store.clone();
            move || {
                let Some(held) = allowed(Lock::new(&store, "a").acquire()) else { return };
                change(&held);
                drop(held.release());
            }
        });
        for _ in 0..6 {
            clock.advance(THIRD / 2);
            assert_eq!(kept.status(), Status::Held);
        }
        thread.join().unwrap();
        drop(kept);
        clock.advance(LEASE * 3);
        store.nothing_is_left("a");
        store.nothing_is_left("kept");
    });
}
