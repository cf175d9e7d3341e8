//! Several locks at once, on stores that fail on demand.

#[allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "shared by test files that each use a part"
)]
mod support;

use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Barrier, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use support::{Fake, Log, happened, settings, wait_until};
use tenure_core::testing::{Clock, Event, HeldLock, Scripted, assert_held, assert_lost};
use tenure_core::{AnyBackend, Backend, Cause, Held, Lock, LockAll, Status};

const LONG: Duration = Duration::from_secs(30);
const SHORT: Duration = Duration::from_millis(300);

/// Two stores that write down together what happens, the second one first in the order.
fn stores() -> (Fake, Fake, Log) {
    let log = Log::default();
    let late = Fake::labelled("late:", true, settings(LONG), log.clone());
    let early = Fake::labelled("early:", true, settings(LONG), log.clone());
    (late, early, log)
}

#[test]
fn members_are_taken_in_one_order_whatever_order_is_given_and_released_in_reverse() {
    let (late, early, log) = stores();
    let (taken, left) = (["+ early:b", "+ late:a", "+ late:b"], ["- late:b", "- late:a", "- early:b"]);
    let held = LockAll::of((Lock::new(&late, "b"), Lock::new(&early, "b"), Lock::new(&late, "a")));
    let held = held.acquire().unwrap();
    assert_eq!(happened(&log), taken);
    held.release().unwrap();
    assert_eq!(happened(&log), left);

    let held = LockAll::of((Lock::new(&early, "b"), Lock::new(&late, "a"), Lock::new(&late, "b")));
    drop(held.try_acquire().unwrap());
    assert_eq!(happened(&log), [taken, left].concat(), "by dropping");

    drop(LockAll::new(&late, ["c", "b", "a"]).acquire_for(LONG).unwrap());
    let order = ["+ late:a", "+ late:b", "+ late:c", "- late:c", "- late:b", "- late:a"];
    assert_eq!(happened(&log), order);
}

#[test]
fn fences_and_members_come_in_the_callers_order() {
    let (late, early, _) = stores();
    for _ in 0..3 {
        Lock::new(&late, "a").acquire().unwrap().release().unwrap();
    }
    let held = LockAll::of((Lock::new(&late, "a"), Lock::new(&early, "b"))).acquire().unwrap();
    fn proof(lock: &Lock<Fake, Held>) -> u64 {
        lock.fence().get()
    }
    let (a, b) = held.members();
    assert_eq!((a.name(), proof(a)), ("a", 4));
    assert_eq!((b.name(), proof(b)), ("b", 1));
    assert_eq!(held.fences().iter().map(|fence| fence.get()).collect::<Vec<_>>(), [4, 1]);

    let any = AnyBackend::new(late.clone());
    let other = AnyBackend::new(early.clone());
    let mixed = LockAll::of(vec![Lock::new(&any, "x"), Lock::new(&other, "y")]).acquire().unwrap();
    assert_eq!(mixed.members()[1].name(), "y");
    assert_eq!(mixed.named("x").map(|lock| lock.name()), Some("x"));
    assert!(mixed.named("z").is_none());
}

#[test]
fn if_one_is_taken_none_is_and_the_error_names_it() {
    let (late, early, log) = stores();
    let taken = Lock::new(&late, "b").acquire().unwrap();
    let set = LockAll::of((Lock::new(&late, "c"), Lock::new(&late, "b"), Lock::new(&early, "a")));
    happened(&log);
    let error = set.try_acquire().unwrap_err();
    assert!(error.is_contended(), "{error}");
    assert_eq!((error.backend(), error.lock()), (Some("late:"), Some("b")));
    assert_eq!(error.holder(), Some(taken.fence()));
    assert_eq!(happened(&log), ["+ early:a", "- early:a"]);

    let error = set.acquire_for(SHORT).unwrap_err();
    assert!(error.is_timed_out(), "{error}");
    assert_eq!((error.backend(), error.lock()), (Some("late:"), Some("b")));
    assert_eq!(happened(&log), ["+ early:a", "- early:a"]);
    taken.release().unwrap();
    set.try_acquire().unwrap().release().unwrap();
}

#[test]
fn all_members_share_one_deadline() {
    let clock = Clock::new();
    let (one, other) = (Scripted::on(&clock), Scripted::on(&clock));
    let (first, second) = (one.taken("a"), other.taken("b"));
    let set = LockAll::of((Lock::new(&one, "a"), Lock::new(&other, "b")));
    let limit = LONG;
    thread::scope(|scope| {
        let began = clock.now();
        let waiting = scope.spawn(|| (set.acquire_for(limit).unwrap_err(), clock.now()));
        wait_until("the first is waited for", || Backend::site(&one).waiting("lock:a") == 1);
        clock.advance(limit / 2);
        drop(first);
        wait_until("the second is waited for", || Backend::site(&other).waiting("lock:b") == 1);
        clock.advance(limit / 2);
        // The time stands still now, unless it would not end.
        let patient = Instant::now() + Duration::from_secs(20);
        while !waiting.is_finished() {
            thread::sleep(Duration::from_millis(1));
            if Instant::now() > patient {
                clock.advance(limit);
            }
        }
        let (error, ended) = waiting.join().unwrap();
        assert!(error.is_timed_out() && error.lock() == Some("b"), "{error}");
        assert_eq!(ended.since(began), limit);
    });
    drop(second);
    set.try_acquire().unwrap().release().unwrap();
}

#[test]
fn what_cannot_work_is_refused_before_any_store_is_asked() {
    let (late, early, log) = stores();
    let error = LockAll::new(&late, ["a", "b", "a"]).acquire().unwrap_err();
    assert!(error.is_misconfigured() && error.lock() == Some("a"), "{error}");
    let any = AnyBackend::new(late.clone());
    let error = LockAll::of((Lock::new(&late, "a"), Lock::new(&early, "a"), Lock::new(&any, "a")));
    let error = error.try_acquire().map(drop);
    // An erased handle is the same store.
    assert!(error.is_err_and(|error| error.is_misconfigured() && error.lock() == Some("a")));
    assert!(LockAll::new(&late, [""; 0]).acquire().unwrap_err().is_misconfigured());
    let error = LockAll::new(&late, ["a", ""]).acquire().unwrap_err();
    assert!(error.is_invalid_name(), "{error}");
    let error = LockAll::of((Lock::new(&late, "a"), Lock::new(&late, "b").ttl(Duration::from_nanos(1))));
    let error = error.acquire().unwrap_err();
    assert!(error.is_misconfigured() && error.lock() == Some("b"), "{error}");
    assert_eq!(happened(&log), [""; 0]);
    assert_eq!(late.calls().acquire.load(SeqCst), 0);
}

#[test]
fn a_store_that_is_down_is_told_at_once_and_the_others_are_let_go() {
    let (late, early, log) = stores();
    late.set_down(true);
    let set = LockAll::of((Lock::new(&late, "a"), Lock::new(&early, "a")));
    for acquire in [LockAll::try_acquire, LockAll::acquire] {
        let error = acquire(&set).unwrap_err();
        assert!(error.is_unavailable(), "{error}");
        assert_eq!((error.backend(), error.lock()), (Some("late:"), Some("a")));
        assert_eq!(happened(&log), ["+ early:a", "- early:a"]);
    }
}

#[test]
fn a_fixed_lifetime_begins_when_the_set_is_complete() {
    let (store, ttl) = (Scripted::new(), Duration::from_millis(100));
    store.taken_for("b", 2 * ttl);
    let set = LockAll::of((Lock::new(&store, "a").ttl(ttl), Lock::new(&store, "b")));
    let held = set.acquire().unwrap();
    let a = &held.members().0;
    assert_eq!(a.remaining(), Some(ttl - ttl / 100 - Duration::from_millis(2)));
    assert_eq!(store.events("a")[0], Event::Granted(a.fence()), "it was taken twice");
    store.clock().advance(ttl);
    assert_eq!(a.status(), Status::Lost(Cause::Expired), "it is still kept alive");
    assert!(held.release().is_err_and(|error| error.is_lost() && error.lock() == Some("a")));
}

#[test]
fn a_set_whose_fixed_lifetime_cannot_be_given_anew_is_an_error() {
    let (late, early, _) = stores();
    let taken = Lock::new(&late, "b").acquire().unwrap();
    let set = LockAll::of((Lock::new(&early, "a").ttl(LONG), Lock::new(&late, "b")));
    thread::scope(|scope| {
        let waiting = scope.spawn(|| set.acquire());
        wait_until("it waits for the second member", || late.site().waiting("lock:b") == 1);
        early.set_down(true);
        taken.release().unwrap();
        let error = waiting.join().unwrap().unwrap_err();
        assert!(error.is_unavailable() && error.lock() == Some("a"), "{error}");
    });
    assert!(!late.is_held("lock:b"));
    early.set_down(false);
    wait_until("the first member is let go of", || !early.is_held("lock:a"));
}

#[test]
fn what_is_lost_while_others_are_waited_for_is_taken_anew() {
    let (late, early, log) = stores();
    let taken = Lock::new(&late, "b").acquire().unwrap();
    let set = LockAll::of((Lock::new(&late, "b"), Lock::new(&early, "a").ttl(SHORT)));
    happened(&log);
    thread::scope(|scope| {
        let waiting = scope.spawn(|| set.acquire());
        wait_until("the first member is taken", || early.is_held("lock:a"));
        early.lose("lock:a");
        taken.release().unwrap();
        let held = waiting.join().unwrap().unwrap();
        assert!(held.is_held());
        assert!(held.members().1.fence().get() > 1, "the lost one was not taken anew");
    });
}

#[test]
fn a_set_that_is_lost_again_and_again_before_it_is_complete_is_an_error() {
    let (late, early, _) = stores();
    late.set_slow(4 * SHORT);
    let set = LockAll::of((Lock::new(&early, "a").ttl(SHORT), Lock::new(&late, "b")));
    let error = set.try_acquire().unwrap_err();
    assert!(error.is_lost() && error.lock() == Some("a"), "{error}");
    let error = set.acquire().unwrap_err();
    assert!(error.is_lost() && error.lock() == Some("a"), "{error}");
    assert_eq!(late.calls().acquire.load(SeqCst), 1 + 3);
    assert!(!late.is_held("lock:b"));
}

#[test]
fn what_is_let_go_of_before_the_set_was_complete_is_free_whatever_its_options_say() {
    let (late, early, _) = stores();
    let taken = Lock::new(&late, "b").acquire().unwrap();
    let nightly = Lock::new(&early, "nightly").hold_at_least(LONG);
    let handed = Lock::new(&early, "handed").release_on_drop(false);
    let set = LockAll::of((nightly.clone(), handed.clone(), Lock::new(&late, "b")));
    assert!(set.try_acquire().unwrap_err().is_contended());
    assert!(!early.is_held("lock:nightly") && !early.is_held("lock:handed"));
    assert!(set.acquire_for(SHORT).unwrap_err().is_timed_out());
    assert!(!early.is_held("lock:nightly") && !early.is_held("lock:handed"));
    taken.release().unwrap();
    drop(set.acquire().unwrap());
    assert!(early.is_held("lock:nightly") && early.is_held("lock:handed"), "options of what was held count");
}

#[test]
fn those_who_do_not_agree_on_the_order_do_not_wait_for_each_other_for_ever() {
    let log = Log::default();
    let one = Fake::labelled("1", false, settings(LONG), log.clone());
    let two = Fake::labelled("2", false, settings(LONG), log.clone());
    let ours = LockAll::of((Lock::new(&one, "x"), Lock::new(&two, "x")));
    // The same two stores, as a process sees them that has other names for them.
    let (nine, eight) = (one.again("9"), two.again("8"));
    let theirs = LockAll::of((Lock::new(&nine, "x"), Lock::new(&eight, "x")));
    // Both have their first lock before either asks for the other one's.
    for store in [&one, &two, &nine, &eight] {
        store.set_slow(Duration::from_millis(50));
    }
    for _ in 0..3 {
        let meet = Barrier::new(2);
        thread::scope(|scope| {
            for set in [&ours, &theirs] {
                scope.spawn(|| {
                    meet.wait();
                    set.acquire_for(LONG).unwrap().release().unwrap();
                });
            }
        });
    }
    // Whoever lets go of his first member before he has the second one stepped aside.
    let log = happened(&log);
    let aside = |labels: [&str; 2]| {
        let his: Vec<_> = log.iter().filter(|event| labels.contains(&&event[2..3])).collect();
        let first = [format!("+ {}x", labels[0]), format!("- {}x", labels[0])];
        his.windows(2).filter(|pair| pair[0] == &first[0] && pair[1] == &first[1]).count()
    };
    assert!(aside(["1", "2"]) + aside(["8", "9"]) > 0, "they never met in a circle: {log:?}");
}

#[test]
fn a_store_that_was_opened_twice_is_found_out_instead_of_waited_for() {
    let (late, _, _) = stores();
    let again = late.again("late:");
    let set = LockAll::of((Lock::new(&late, "x"), Lock::new(&again, "x")));
    let error = set.try_acquire().unwrap_err();
    assert!(error.is_misconfigured() && error.lock() == Some("x"), "{error}");
    let error = set.acquire().unwrap_err();
    assert!(error.is_misconfigured() && error.lock() == Some("x"), "{error}");
    assert!(!late.is_held("lock:x"));
}

#[test]
fn two_stores_with_the_same_key_and_the_same_fence_are_two() {
    let (late, early, _) = stores();
    let slow = Duration::from_secs(1);
    let taken = Lock::new(&late, "x").ttl(slow + slow / 2).acquire().unwrap();
    let set = LockAll::of((Lock::new(&early, "x"), Lock::new(&late, "x")));
    // It is denied once, and free when it is asked for again to see whether it is the same lock.
    late.set_slow(slow);
    let error = set.try_acquire().unwrap_err();
    assert!(error.is_contended() && error.backend() == Some("late:"), "{error}");
    assert_eq!(error.holder(), Some(taken.fence()));
    assert!(!late.is_held("lock:x") && !early.is_held("lock:x"));
    assert_eq!(late.calls().acquire.load(SeqCst), 3, "it was not asked again, so nothing was tested");
}

#[test]
fn nothing_is_held_for_long_while_a_set_waits() {
    let store = Scripted::new();
    let hour = Duration::from_secs(3600);
    store.taken_for("b", hour);
    let set = LockAll::new(&store, ["b", "a"]);
    let began = store.clock().now();
    let error = set.acquire_for(hour / 2).unwrap_err();
    assert!(error.is_timed_out() && error.lock() == Some("b"), "{error}");
    assert!(error.to_string().contains("all 2 locks of the set were free within 1800"), "{error}");
    assert_eq!(store.clock().now().since(began), hour / 2);
    // Held once, for a second or two, and then no more.
    assert_eq!(store.events("a").len(), 2, "{:?}", store.events("a"));

    let held = set.acquire().unwrap();
    let waited = store.clock().now().since(began);
    assert!(waited >= hour && waited < hour + Duration::from_secs(10), "{waited:?}");
    assert_eq!(store.events("a").len(), 5, "{:?}", store.events("a"));
    assert_held(&held);
    store.clock().advance(hour);
    assert_held(&held);
    let _thief = store.taken("a");
    store.clock().advance(hour);
    assert_lost(&held);
    assert_eq!(HeldLock::name(&held), "a");
}

#[test]
fn stores_that_live_in_different_times_are_waited_for_in_their_own() {
    let (scripted, fake) = (Scripted::new(), Fake::new(true, settings(LONG)));
    let taken = Lock::new(&fake, "x").acquire().unwrap();
    let set = LockAll::of((Lock::new(&fake, "x"), Lock::new(&scripted, "a")));
    let began = Instant::now();
    assert!(set.acquire_for(SHORT).unwrap_err().is_timed_out());
    assert!(began.elapsed() >= SHORT && began.elapsed() < LONG);
    taken.release().unwrap();
    scripted.taken_for("a", LONG);
    let set = LockAll::of((Lock::new(&scripted, "a"), Lock::new(&fake, "x")));
    set.acquire_for(2 * LONG).unwrap().release().unwrap();
    assert!(began.elapsed() < LONG);
}

#[test]
fn a_set_is_as_lost_as_the_worst_of_its_members() {
    let (late, early, _) = stores();
    let set = LockAll::of((Lock::new(&late, "a").ttl(LONG), Lock::new(&early, "b").ttl(LONG / 2)));
    let held = set.acquire().unwrap();
    assert_eq!((held.status(), held.is_held()), (Status::Held, true));
    assert_eq!(held.deadline(), held.members().1.deadline(), "the earlier one");
    assert!(held.remaining().is_some_and(|left| left < LONG / 2));
    let (tell, told) = mpsc::channel();
    held.on_lost(move |error| tell.send(error).unwrap());

    late.set_down(true);
    let error = held.renew().unwrap_err();
    assert!(error.is_unavailable() && error.lock() == Some("a"), "{error}");
    assert_eq!((held.status(), held.is_held()), (Status::Unknown, true));
    assert_eq!(early.calls().renew.load(SeqCst), 1, "the others are renewed nevertheless");
    late.set_down(false);
    held.renew().unwrap();
    assert_eq!(held.status(), Status::Held);
    assert!(told.try_recv().is_err());

    thread::scope(|scope| {
        let watching = scope.spawn(|| held.lost());
        early.lose("lock:b");
        let error = held.renew().unwrap_err();
        assert!(error.is_lost() && error.lock() == Some("b"), "{error}");
        assert_eq!(watching.join().unwrap().lock(), Some("b"));
    });
    assert_eq!((held.status(), held.is_held()), (Status::Lost(Cause::Superseded), false));
    let error = told.recv_timeout(LONG).unwrap();
    assert_eq!((error.backend(), error.lock()), (Some("early:"), Some("b")));
    assert_eq!(error.cause(), Some(Cause::Superseded));
    late.lose("lock:a");
    held.renew().unwrap_err();
    assert!(told.recv().is_err(), "it was told twice");
    drop(held);
}

#[test]
fn a_release_goes_on_after_an_error_and_reports_the_first() {
    let (late, early, log) = stores();
    let handed = Lock::new(&late, "a").release_on_drop(false);
    let set = LockAll::of((handed, Lock::new(&late, "b"), Lock::new(&early, "c")));
    let held = set.acquire().unwrap();
    late.lose("lock:b");
    early.lose("lock:c");
    happened(&log);
    let error = held.release().unwrap_err();
    assert!(error.is_lost() && error.lock() == Some("b"), "{error}");
    assert_eq!(happened(&log), ["- late:a"]);

    let ran = set.run(|held| held.fences().len()).unwrap();
    assert_eq!(ran.kept().unwrap(), 3);
    let ran = set.run(|_| early.lose("lock:c")).unwrap();
    assert!(ran.is_lost());
}

#[test]
fn work_that_panics_and_sets_that_are_taken_apart_leave_nothing_held() {
    let (late, early, log) = stores();
    let set = LockAll::of((Lock::new(&late, "a"), Lock::new(&early, "b")));
    thread::scope(|scope| {
        scope.spawn(|| set.run(|_| panic!("on purpose"))).join().unwrap_err();
    });
    assert_eq!(happened(&log), ["+ early:b", "+ late:a", "- late:a", "- early:b"]);
    let (a, b) = set.acquire().unwrap().into_members();
    assert_eq!(happened(&log), ["+ early:b", "+ late:a"]);
    b.release().unwrap();
    assert!(late.is_held("lock:a"));
    drop(a);
    assert!(!late.is_held("lock:a"));
}
