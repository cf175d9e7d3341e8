//! The waiting engine: who speaks to the store, how often, and in which order.

#[allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "shared by test files that each use a part"
)]
mod support;

use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use support::{Fake, settings, wait_until};
use tenure_core::{AnyBackend, Backend, Lock, Settings};

const LONG: Duration = Duration::from_secs(30);

#[test]
fn under_contention_an_acquisition_costs_at_most_two_calls() {
    let store = Fake::new(true, settings(LONG));
    let (threads, rounds) = (8, 50);
    let counter = Mutex::new(0);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                for _ in 0..rounds {
                    let held = Lock::new(&store, "busy").acquire().unwrap();
                    let mut counter = counter.try_lock().expect("two holders");
                    thread::sleep(Duration::from_micros(200));
                    *counter += 1;
                    drop(counter);
                    held.release().unwrap();
                }
            });
        }
    });
    assert_eq!(*counter.lock().unwrap(), threads * rounds);
    let calls = store.calls();
    let per_acquisition =
        (calls.acquire.load(SeqCst) + calls.release.load(SeqCst)) as f64 / f64::from(threads * rounds);
    assert!(per_acquisition <= 2.1, "{per_acquisition} calls an acquisition");
}

#[test]
fn a_thousand_waiters_are_one_waiter_at_the_store() {
    let store = Fake::new(true, settings(LONG));
    let held = Lock::new(&store, "crowd").acquire().unwrap();
    thread::scope(|scope| {
        for _ in 0..200 {
            scope.spawn(|| Lock::new(&store, "crowd").acquire_for(Duration::from_millis(300)).unwrap_err());
        }
    });
    // Each asks at most once before it finds the line; then only the first asks.
    let asked = store.calls().acquire.load(SeqCst);
    assert!(asked < 60, "{asked} calls");
    held.release().unwrap();
}

#[test]
fn waiters_are_served_in_the_order_in_which_they_came_typed_and_erased_alike() {
    let store = Fake::new(true, settings(LONG));
    let any = AnyBackend::new(store.clone());
    let held = Lock::new(&store, "order").acquire().unwrap();
    let (tell, order) = mpsc::channel();
    thread::scope(|scope| {
        for number in 0..10 {
            let (store, any, tell) = (&store, &any, tell.clone());
            let (ready, began) = mpsc::channel();
            scope.spawn(move || {
                ready.send(()).unwrap();
                if number % 2 == 0 {
                    let held = Lock::new(store, "order").acquire().unwrap();
                    tell.send(number).unwrap();
                    held.release().unwrap();
                } else {
                    let held = Lock::new(any, "order").acquire().unwrap();
                    tell.send(number).unwrap();
                    held.release().unwrap();
                }
            });
            began.recv().unwrap();
            wait_until("it stands in line", || store.site().waiting("lock:order") == number + 1);
        }
        held.release().unwrap();
    });
    drop(tell);
    assert_eq!(order.iter().collect::<Vec<_>>(), (0..10).collect::<Vec<_>>());
}

#[test]
fn a_waiter_that_gives_up_in_front_lets_the_next_one_ask() {
    let store = Fake::new(true, settings(LONG));
    let held = Lock::new(&store, "front").acquire().unwrap();
    thread::scope(|scope| {
        let first =
            scope.spawn(|| Lock::new(&store, "front").acquire_for(Duration::from_millis(100)).map(drop));
        wait_until("the first waits", || store.site().waiting("lock:front") == 1);
        let second = scope.spawn(|| Lock::new(&store, "front").acquire_for(LONG).map(drop));
        wait_until("both wait", || store.site().waiting("lock:front") == 2);
        assert!(first.join().unwrap().is_err_and(|error| error.is_timed_out()));
        held.release().unwrap();
        second.join().unwrap().unwrap();
    });
    assert_eq!(store.site().waiting("lock:front"), 0);
}

#[test]
fn a_polled_store_is_asked_at_the_locks_own_pace() {
    let store = Fake::new(false, settings(LONG));
    let held = Lock::new(&store, "polled").acquire().unwrap();
    let before = store.calls().acquire.load(SeqCst);
    let waiting = Lock::new(&store, "polled").sleep(Duration::from_millis(20));
    waiting.acquire_for(Duration::from_millis(400)).unwrap_err();
    let asked = store.calls().acquire.load(SeqCst) - before;
    assert!((10..=25).contains(&asked), "{asked} calls in 400 ms");
    held.release().unwrap();
}

#[test]
fn an_idle_waiter_of_a_store_that_notifies_is_nearly_silent() {
    let store = Fake::new(true, settings(LONG));
    let held = Lock::new(&store, "idle").acquire().unwrap();
    let before = store.calls().acquire.load(SeqCst);
    Lock::new(&store, "idle").acquire_for(Duration::from_secs(1)).unwrap_err();
    // The first attempt, and one after the store promised to notify.
    assert_eq!(store.calls().acquire.load(SeqCst) - before, 2);
    held.release().unwrap();
}

#[test]
fn a_waiter_gets_an_expired_lock_without_being_told() {
    let store = Fake::new(true, settings(LONG));
    let lease = Duration::from_millis(200);
    let began = Instant::now();
    let held = Lock::new(&store, "expiry").ttl(lease).acquire().unwrap();
    let next = Lock::new(&store, "expiry").acquire_for(LONG).unwrap();
    assert!(began.elapsed() >= lease && began.elapsed() < lease * 5, "{:?}", began.elapsed());
    assert!(held.release().is_err_and(|error| error.is_lost()));
    next.release().unwrap();
}

#[test]
fn a_store_that_is_down_is_an_error_at_once_and_what_it_kept_is_taken_back() {
    let store = Fake::new(true, settings(LONG));
    store.set_down(true);
    let began = Instant::now();
    assert!(Lock::new(&store, "down").acquire().is_err_and(|error| error.is_unavailable()));
    assert!(Lock::new(&store, "down").try_acquire().is_err_and(|error| error.is_unavailable()));
    assert!(began.elapsed() < Duration::from_secs(1));
    wait_until("both abandoned", || store.calls().abandon.load(SeqCst) == 2);
}

#[test]
fn a_timeout_keeps_the_stores_last_error_as_its_source() {
    let store = Fake::new(true, settings(LONG));
    let held = Lock::new(&store, "source").acquire().unwrap();
    thread::scope(|scope| {
        let waiter = scope.spawn(|| Lock::new(&store, "source").acquire_for(Duration::from_millis(400)));
        wait_until("it waits", || store.site().waiting("lock:source") == 1);
        store.set_down(true);
        store.site().notify_all();
        let error = waiter.join().unwrap().unwrap_err();
        assert!(error.is_timed_out(), "{error}");
        let source = std::error::Error::source(&error).map(ToString::to_string);
        assert!(source.is_some_and(|source| source.contains("the fake is down")));
        assert!(
            error.to_string().contains("this very process holds it since core/tests/waiting.rs"),
            "{error}"
        );
    });
    store.set_down(false);
    held.release().unwrap();
}

#[test]
fn all_waiters_of_a_store_that_went_down_fail_together_after_the_recheck() {
    let recheck = Duration::from_millis(200);
    let store = Fake::new(true, Settings::default().with_recheck(recheck).unwrap());
    let held = Lock::new(&store, "patience").acquire().unwrap();
    thread::scope(|scope| {
        let waiters: Vec<_> =
            (0..50).map(|_| scope.spawn(|| Lock::new(&store, "patience").acquire())).collect();
        wait_until("they wait", || store.site().waiting("lock:patience") == 50);
        let began = Instant::now();
        store.set_down(true);
        for waiter in waiters {
            assert!(waiter.join().unwrap().is_err_and(|error| error.is_unavailable()));
        }
        assert!(began.elapsed() >= recheck && began.elapsed() < recheck * 20, "{:?}", began.elapsed());
    });
    store.set_down(false);
    assert_eq!(store.site().waiting("lock:patience"), 0);
    held.release().unwrap();
}

#[test]
fn a_deadline_may_be_an_instant_and_a_free_lock_needs_no_time() {
    let store = Fake::new(true, settings(LONG));
    let past = Instant::now();
    let held = Lock::new(&store, "until").acquire_until(past).unwrap();
    let until = Instant::now() + Duration::from_millis(50);
    assert!(Lock::new(&store, "until").acquire_until(until).is_err_and(|error| error.is_timed_out()));
    assert!(Instant::now() >= until && until.elapsed() < Duration::from_secs(1));
    held.release().unwrap();
}

#[test]
fn whoever_comes_again_and_again_steps_back_for_waiting_processes() {
    let store = Fake::new(true, settings(LONG));
    let lock = Lock::new(&store, "again");
    let again = |times: usize| {
        let began = Instant::now();
        (0..times).for_each(|_| lock.acquire().unwrap().release().unwrap());
        (began.elapsed(), store.calls().looks.swap(0, SeqCst))
    };
    // The first acquisition begins the count; every sixteenth after it looks.
    let (_, looks) = again(1 + 16 * 4);
    assert_eq!(looks, 4);
    store.set_awaited(true);
    let (took, looks) = again(16 * 4);
    assert_eq!(looks, 4);
    assert!(took >= Duration::from_millis(8), "four steps back took {took:?}");
    // Who does not wait is not made to.
    (0..64).for_each(|_| lock.try_acquire().unwrap().release().unwrap());
    assert_eq!(store.calls().looks.load(SeqCst), 0);
}

#[test]
fn a_panicking_closure_releases_the_lock() {
    let store = Fake::new(true, settings(LONG));
    let lock = Lock::new(&store, "panic");
    let panicked = thread::scope(|scope| scope.spawn(|| lock.run(|_| panic!("on purpose")).map(drop)).join());
    assert!(panicked.is_err());
    lock.try_acquire().unwrap().release().unwrap();
}

#[test]
fn a_closure_is_told_that_its_lock_was_lost_meanwhile() {
    let store = Fake::new(true, settings(LONG));
    let ran = Lock::new(&store, "meanwhile").run(|_| store.lose("lock:meanwhile")).unwrap();
    assert!(ran.is_lost() && ran.kept().is_err_and(|error| error.is_lost()));
    assert_eq!(Lock::new(&store, "meanwhile").run(|_| 7).unwrap().kept().unwrap(), 7);
}
