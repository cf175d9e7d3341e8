//! Several locks at once for tasks: the same as for threads, and nothing is left behind by what is
//! dropped.

#[allow(dead_code, unreachable_pub, reason = "shared by test files that each use a part")]
mod polled;
#[allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "shared by test files that each use a part"
)]
mod support;

use std::future::{Future, pending};
use std::pin::pin;
use std::sync::mpsc;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use polled::AsyncFake;
use support::{Fake, Log, happened, settings, wait_until};
use tenure_core::aio::{Lock, LockAll, block_on};
use tenure_core::{Backend, Cause, Status};

const LONG: Duration = Duration::from_secs(30);
const SHORT: Duration = Duration::from_millis(300);

fn stores() -> (AsyncFake, AsyncFake, Log) {
    let log = Log::default();
    let late = Fake::labelled("late:", true, settings(LONG), log.clone());
    let early = Fake::labelled("early:", true, settings(LONG), log.clone());
    (AsyncFake::new(late, 1).in_order(), AsyncFake::new(early, 1).in_order(), log)
}

/// Polls a future at most so often, and drops it if it is not done by then.
fn poll_times<F: Future>(future: F, times: usize, mut before: impl FnMut(usize)) -> Option<F::Output> {
    let mut future = pin!(future);
    (0..times).find_map(|time| {
        before(time);
        match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(done) => Some(done),
            Poll::Pending => None,
        }
    })
}

/// Whether nothing is held, and nobody waits.
fn expect_nothing_left(stores: [&AsyncFake; 2], n: usize) {
    for (store, name) in stores.into_iter().flat_map(|store| ["a", "b", "c"].map(|name| (store, name))) {
        let key = format!("lock:{name}");
        wait_until(&format!("nothing is held after {n} polls"), || !store.fake().is_held(&key));
        assert_eq!(store.fake().site().waiting(&key), 0, "somebody waits after {n} polls");
    }
}

#[test]
fn tasks_take_and_release_in_the_order_that_threads_do() {
    let (late, early, log) = stores();
    let set = LockAll::of((Lock::new(&late, "b"), Lock::new(&early, "b"), Lock::new(&late, "a")));
    let order = ["+ early:b", "+ late:a", "+ late:b", "- late:b", "- late:a", "- early:b"];
    for _ in 0..2 {
        let held = block_on(set.acquire()).unwrap();
        assert_eq!(held.members().1.name(), "b");
        assert_eq!(held.fences().len(), 3);
        block_on(held.release()).unwrap();
        assert_eq!(happened(&log), order);
    }
    let held = block_on(set.acquire()).unwrap();
    late.fake().lose("lock:b");
    happened(&log);
    let error = block_on(held.release()).unwrap_err();
    assert!(error.is_lost() && error.lock() == Some("b"), "{error}");
    assert_eq!(happened(&log), order[4..], "the others are released before the error is told");

    let error = block_on(LockAll::new(&late, ["x", "x"]).acquire()).unwrap_err();
    assert!(error.is_misconfigured() && error.lock() == Some("x"), "{error}");
    let sum = block_on(LockAll::new(&late, ["x", "y"]).run(async |held| held.fences().len())).unwrap();
    assert_eq!(sum.kept().unwrap(), 2);
}

#[test]
fn if_one_is_taken_tasks_get_none_and_the_error_names_it() {
    let (late, early, log) = stores();
    let taken = block_on(Lock::new(&late, "b").acquire()).unwrap();
    let set = LockAll::of(vec![Lock::new(&late, "b"), Lock::new(&late, "a")]);
    happened(&log);
    let error = block_on(set.try_acquire()).unwrap_err();
    assert!(error.is_contended() && error.lock() == Some("b"), "{error}");
    assert_eq!(happened(&log), ["+ late:a", "- late:a"], "released before the error is told");
    let error = block_on(set.acquire_for(SHORT)).unwrap_err();
    assert!(error.is_timed_out() && error.lock() == Some("b"), "{error}");
    assert_eq!(happened(&log), ["+ late:a", "- late:a"]);
    block_on(taken.release()).unwrap();

    late.fake().set_down(true);
    let both = LockAll::of((Lock::new(&late, "a"), Lock::new(&early, "a")));
    happened(&log);
    let error = block_on(both.acquire()).unwrap_err();
    assert!(error.is_unavailable() && error.backend() == Some("late:"), "{error}");
    assert_eq!(happened(&log), ["+ early:a", "- early:a"]);
}

#[test]
fn a_set_that_is_dropped_at_any_poll_leaves_nothing_behind() {
    let (late, early, log) = stores();
    let options = || {
        let kept = Lock::new(&early, "a").hold_at_least(LONG).release_on_drop(false);
        LockAll::of((Lock::new(&late, "b"), kept, Lock::new(&early, "b").ttl(LONG), Lock::new(&late, "c")))
    };
    let (set, mut waited) = (options(), false);
    for n in 0.. {
        assert!(n < 500, "it is never done");
        // Somebody has one in the middle until the future has come to wait for it.
        let taken = Lock::new(&late, "b");
        let mut taken = Some(block_on(taken.acquire()).unwrap());
        happened(&log);
        let acquired = poll_times(set.acquire(), n, |time| {
            waited |= late.fake().site().waiting("lock:b") > 0;
            if time == 30 {
                drop(taken.take());
            }
        });
        drop(taken);
        let Some(held) = acquired else {
            expect_nothing_left([&late, &early], n);
            expect_reverse(happened(&log), n);
            continue;
        };
        let held = held.unwrap();
        assert!(n > 35 && waited, "it did not wait, after {n} polls");
        assert!(held.members().2.remaining().is_some_and(|left| left > LONG.mul_f64(0.9)));
        // What was held counts: the options are heeded.
        drop(held);
        wait_until("the others are free", || {
            !early.fake().is_held("lock:b") && !late.fake().is_held("lock:b")
        });
        assert!(early.fake().is_held("lock:a"), "release_on_drop(false) was overridden");
        break;
    }
}

/// What was taken was let go of in reverse, apart from what somebody else let go of.
fn expect_reverse(mut events: Vec<String>, n: usize) {
    let others = events.iter().position(|event| event == "- late:b").expect("somebody else had it");
    events.remove(others);
    let mut taken = Vec::new();
    for event in events {
        match event.split_at(2) {
            ("+ ", name) => taken.push(name.to_owned()),
            (_, name) => assert_eq!(taken.pop().as_deref(), Some(name), "after {n} polls"),
        }
    }
    assert!(taken.is_empty(), "after {n} polls: {taken:?}");
}

#[test]
fn a_set_that_is_dropped_while_it_lets_go_lets_go_of_all() {
    let (late, early, _) = stores();
    let taken = block_on(Lock::new(&late, "c").acquire()).unwrap();
    let set = LockAll::of((Lock::new(&late, "c"), Lock::new(&early, "a"), Lock::new(&early, "b")));
    let mut n = 0;
    while poll_times(set.try_acquire(), n, |_| {}).is_none() {
        wait_until("all is let go of", || !early.fake().is_held("lock:a") && !early.fake().is_held("lock:b"));
        n += 1;
    }
    assert!(n > 10, "{n} polls are too few to have been dropped while letting go");
    block_on(taken.release()).unwrap();
}

#[test]
fn a_set_that_has_one_lock_twice_is_found_out_and_leaves_nothing_behind_at_any_poll() {
    let (late, early, _) = stores();
    let again = AsyncFake::new(late.fake().again("late:"), 1).in_order();
    let set = LockAll::of((Lock::new(&late, "a"), Lock::new(&again, "a"), Lock::new(&early, "b")));
    let mut n = 0;
    let error = loop {
        let tried = poll_times(set.try_acquire(), n, |_| {});
        expect_nothing_left([&late, &early], n);
        match tried {
            Some(answer) => break answer.unwrap_err(),
            None => n += 1,
        }
    };
    assert!(error.is_misconfigured() && error.lock() == Some("a"), "{error}");
    assert!(block_on(set.acquire()).unwrap_err().is_misconfigured());
}

#[test]
fn a_release_that_is_dropped_at_any_poll_goes_on() {
    let (late, early, log) = stores();
    let set = LockAll::of((Lock::new(&late, "a"), Lock::new(&early, "b"), Lock::new(&early, "c")));
    let mut n = 0;
    loop {
        let held = block_on(set.acquire()).unwrap();
        happened(&log);
        let released = poll_times(held.release(), n, |_| {});
        expect_nothing_left([&late, &early], n);
        wait_until("all three are told", || log.lock().unwrap().len() == 3);
        if let Some(answer) = released {
            answer.unwrap();
            break;
        }
        n += 1;
    }
    assert!(n >= 6, "{n} polls");
    assert_eq!(happened(&log), ["- late:a", "- early:c", "- early:b"]);
}

#[test]
fn the_first_loss_ends_what_is_guarded_and_is_told() {
    let (late, early, _) = stores();
    let set = LockAll::of((Lock::new(&late, "a"), Lock::new(&early, "b").ttl(SHORT)));
    let held = block_on(set.acquire()).unwrap();
    let (tell, told) = mpsc::channel();
    held.on_lost(move |error| tell.send(error).unwrap());
    assert_eq!(block_on(held.guarded(async { 5 })).unwrap(), 5);
    assert_eq!((held.status(), held.is_held()), (Status::Held, true));
    block_on(held.renew()).unwrap();
    assert!(poll_times(held.lost(), 3, |_| {}).is_none());

    let error = block_on(held.guarded(pending::<()>())).unwrap_err();
    assert!(error.is_lost() && error.lock() == Some("b"), "{error}");
    let error = block_on(held.lost());
    assert_eq!((error.backend(), error.cause()), (Some("early:"), Some(Cause::Expired)));
    assert_eq!(told.recv_timeout(LONG).unwrap().lock(), Some("b"));
    assert_eq!(held.status(), Status::Lost(Cause::Expired));
    assert!(block_on(held.renew()).is_err_and(|error| error.lock() == Some("b")));
    assert!(block_on(held.release()).is_err_and(|error| error.is_lost()));
    assert!(!late.fake().is_held("lock:a"));
}

#[test]
fn the_futures_can_be_sent_and_tasks_take_turns_with_threads() {
    fn sendable<F: Future + Send>(future: F) -> F {
        future
    }
    let (late, early, _) = stores();
    let set = LockAll::of((Lock::new(&late, "a"), Lock::new(&early, "b")));
    let threads = tenure_core::LockAll::of((
        tenure_core::Lock::new(late.fake(), "a"),
        tenure_core::Lock::new(early.fake(), "b"),
    ));
    let held = threads.acquire().unwrap();
    thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let held = block_on(sendable(set.acquire_for(LONG))).unwrap();
            block_on(sendable(held.renew())).unwrap();
            block_on(sendable(held.release())).unwrap();
        });
        wait_until("the task waits", || early.fake().site().waiting("lock:b") == 1);
        held.release().unwrap();
        waiting.join().unwrap();
    });
    drop(sendable(set.try_acquire()));
    drop(sendable(set.acquire()));
}
