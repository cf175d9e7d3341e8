//! The lines of a process that waits for a store: who asks, who is woken, who gives up.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use shuttle::thread::yield_now;
use tenure_core::aio::{self, block_on};
use tenure_core::sync::{advance, settle, thread};
use tenure_core::testing::Clock;
use tenure_core::{Cause, Lock};

use crate::explore::explore;
use crate::store::{LONG, Store};
use crate::take_part::{Room, allowed, draw, poll_times, take_part};

#[test]
fn no_wake_up_is_lost_while_time_stands_still() {
    explore(|| {
        let store = Store::new();
        let room = Arc::new(Room::default());
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let (store, room) = (store.clone(), room.clone());
                thread::spawn(move || {
                    if draw(2) == 0 {
                        let held = Lock::new(&store, "a").acquire().unwrap();
                        room.visit(held.fence().get());
                        held.release().unwrap();
                    } else {
                        let held = block_on(aio::Lock::new(&store, "a").acquire()).unwrap();
                        room.visit(held.fence().get());
                        block_on(held.release()).unwrap();
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(room.visits.load(SeqCst), 4);
        store.nothing_is_left("a");
    });
}

/// Threads and tasks of two processes, some of which give up.
fn come_and_go(store: &Store) {
    let room = Arc::new(Room::default());
    let threads: Vec<_> = [store.clone(), store.clone(), store.elsewhere()]
        .map(|store| {
            let room = room.clone();
            thread::spawn(move || (0..2).for_each(|_| take_part(&store, "a", &room)))
        })
        .into();
    (0..3).for_each(|_| advance(Duration::from_millis(10)));
    room.visit(Lock::new(store, "a").acquire().unwrap().fence().get());
    for _ in 0..3 {
        settle();
        advance(Duration::from_millis(30));
    }
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    store.nothing_is_left("a");
}

#[test]
fn whoever_comes_and_goes_in_whatever_manner_nobody_is_forgotten() {
    explore(|| come_and_go(&Store::new()));
}

#[test]
fn nor_where_the_store_queues_its_waiters_and_hands_the_lock_on() {
    explore(|| come_and_go(&Store::queueing()));
}

#[test]
fn a_waiter_that_gives_up_leaves_the_stores_queue_at_once() {
    explore(|| give_up(&Store::queueing()));
}

#[test]
fn a_waiter_that_gives_up_leaves_its_processs_place_to_the_next() {
    explore(|| give_up(&Store::giving_places()));
}

/// Waiters that give up in all manners, while the lock is held.
fn give_up(store: &Store) {
    let held = Lock::new(store, "a").acquire().unwrap();
    let longest = Duration::from_millis(10);
    let threads = [0, 1, 2].map(|how| {
        let store = store.clone();
        // One without patience asks once.
        let limit = if draw(2) == 0 { Duration::ZERO } else { longest };
        thread::spawn(move || match how {
            0 => assert!(Lock::new(&store, "a").acquire_for(limit).unwrap_err().is_timed_out()),
            1 => {
                let error = block_on(aio::Lock::new(&store, "a").acquire_for(limit)).unwrap_err();
                assert!(error.is_timed_out(), "{error}");
            }
            _ => assert!(poll_times(draw(9), aio::Lock::new(&store, "a").acquire()).is_none()),
        })
    });
    settle();
    advance(longest);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    settle();
    assert_eq!((store.queued("a"), store.waiting("a")), (0, 0));
    held.release().unwrap();
    store.nothing_is_left("a");
}

#[test]
fn nor_where_the_news_of_that_cross_with_attempts() {
    explore(|| come_and_go(&Store::queueing_afar()));
}

#[test]
fn nor_where_each_process_has_a_place_in_the_stores_queue() {
    explore(|| come_and_go(&Store::giving_places()));
}

/// Holders that sit on a lock until they lose it, or forget it, and those behind them.
fn expire(store: &Store) {
    let ttl = Duration::from_millis(20);
    let threads: Vec<_> = [store.clone(), store.clone(), store.elsewhere()]
        .map(|store| {
            thread::spawn(move || {
                let lock = Lock::new(&store, "a").ttl(ttl).release_on_drop(draw(2) == 0);
                let Some(held) = allowed(lock.acquire()) else { return };
                if draw(2) == 0 {
                    assert_eq!(held.lost(), Cause::Expired);
                }
            })
        })
        .into();
    for _ in 0..4 {
        settle();
        advance(ttl + Duration::from_millis(5));
    }
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    store.nothing_is_left("a");
}

#[test]
fn a_lease_that_runs_out_frees_the_lock_for_those_behind() {
    explore(|| expire(&Store::new()));
}

#[test]
fn a_lease_that_runs_out_frees_the_lock_for_those_queued_behind() {
    explore(|| expire(&Store::queueing()));
}

#[test]
fn a_lease_that_runs_out_frees_the_lock_for_those_who_have_a_place() {
    explore(|| expire(&Store::giving_places()));
}

/// Threads and tasks whose answers get lost.
fn go_unanswered(store: &Store) {
    store.set_doubtful(true);
    let room = Arc::new(Room::default());
    let threads: Vec<_> = (0..3)
        .map(|_| {
            let (store, room) = (store.clone(), room.clone());
            thread::spawn(move || take_part(&store, "a", &room))
        })
        .collect();
    for _ in 0..20 {
        settle();
        advance(Duration::from_millis(40));
    }
    store.set_doubtful(false);
    for _ in 0..40 {
        settle();
        advance(Duration::from_millis(100));
    }
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    store.nothing_is_left("a");
}

#[test]
fn what_the_store_did_without_an_answer_is_undone() {
    explore(|| go_unanswered(&Store::lasting()));
}

#[test]
fn a_place_that_was_taken_without_an_answer_is_left() {
    explore(|| go_unanswered(&Store::giving_places()));
}

/// A store that goes down while threads and tasks wait for a lock.
fn go_down(store: &Store) {
    let held = Lock::new(store, "a").ttl(LONG).acquire().unwrap();
    let threads: Vec<_> = (0..3)
        .map(|number| {
            let store = store.clone();
            thread::spawn(move || {
                let error = match number {
                    0 => Lock::new(&store, "a").acquire().unwrap_err(),
                    1 => block_on(aio::Lock::new(&store, "a").acquire()).unwrap_err(),
                    _ => return drop(poll_times(draw(9), aio::Lock::new(&store, "a").acquire())),
                };
                assert!(error.is_unavailable(), "{error}");
            })
        })
        .collect();
    while store.waiting("a") == 0 {
        yield_now();
    }
    store.set_down(true);
    store.site.notify_all();
    // The default patience is 5 s. The others are to have none of their own.
    for _ in 0..8 {
        settle();
        advance(Duration::from_secs(1));
    }
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    store.set_down(false);
    held.release().unwrap();
    store.nothing_is_left("a");
}

#[test]
fn all_who_wait_for_a_store_that_went_down_give_up_with_the_first_and_leave_nothing() {
    explore(|| go_down(&Store::new()));
}

#[test]
fn all_who_wait_behind_a_place_in_a_store_that_went_down_give_up_and_leave_it() {
    explore(|| go_down(&Store::giving_places()));
}

/// A process that wins more often in a row than it may, with one of another process behind it.
fn win_again_and_again(store: &Store) {
    let threads: Vec<_> = [(store.clone(), 9), (store.clone(), 9), (store.elsewhere(), 2)]
        .map(|(store, times)| {
            thread::spawn(move || {
                (0..times).for_each(|_| Lock::new(&store, "a").acquire().unwrap().release().unwrap());
            })
        })
        .into();
    for _ in 0..3 {
        settle();
        advance(Duration::from_millis(2));
    }
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    store.nothing_is_left("a");
}

#[test]
fn a_process_that_wins_again_and_again_rests_and_goes_on() {
    explore(|| win_again_and_again(&Store::new()));
}

#[test]
fn a_process_that_wins_again_and_again_leaves_the_order_to_a_store_that_gives_places() {
    explore(|| win_again_and_again(&Store::giving_places()));
}

#[test]
fn a_process_that_wins_again_and_again_goes_on_when_its_turn_has_come() {
    explore(|| win_again_and_again(&Store::telling_in_turn()));
}

#[test]
fn a_waiter_in_a_tests_time_is_woken_when_its_moment_has_come() {
    explore(|| {
        let clock = Clock::new();
        let store = Store::on_clock(&clock);
        let held = Lock::new(&store, "a").ttl(LONG).acquire().unwrap();
        let threads: Vec<_> = (0..2)
            .map(|number| {
                let store = store.clone();
                let limit = Duration::from_millis(10 + 10 * number);
                let until = clock.now() + limit;
                thread::spawn(move || {
                    let error = match draw(2) {
                        0 => Lock::new(&store, "a").acquire_until(until).unwrap_err(),
                        _ => block_on(aio::Lock::new(&store, "a").acquire_until(until)).unwrap_err(),
                    };
                    assert!(error.is_timed_out(), "{error}");
                })
            })
            .collect();
        clock.advance(Duration::from_millis(10));
        clock.advance(Duration::from_millis(10));
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        held.release().unwrap();
        store.nothing_is_left("a");
    });
}
