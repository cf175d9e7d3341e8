//! The renewal engine against a store that counts and fails on demand.

#[allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "shared by test files that each use a part"
)]
mod support;

use std::sync::atomic::Ordering::SeqCst;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use support::{Fake, settings, wait_until};
use tenure_core::testing::{Clock, Event, Scripted};
use tenure_core::{Backend, Cause, Lock, Status};

const LEASE: Duration = Duration::from_millis(900);

#[test]
fn a_kept_lock_outlives_its_lease_many_times() {
    let store = Fake::new(true, settings(LEASE));
    let held = Lock::new(&store, "kept").acquire().unwrap();
    let began = Instant::now();
    wait_until("eight renewals", || store.calls().renew.load(SeqCst) >= 8);
    assert!(began.elapsed() > LEASE * 2);
    assert_eq!(held.status(), Status::Held);
    held.release().unwrap();
}

#[test]
fn a_fixed_lock_is_not_renewed() {
    let store = Fake::new(true, settings(LEASE));
    let held = Lock::new(&store, "fixed").ttl(LEASE).acquire().unwrap();
    assert_eq!(held.lost(), Cause::Expired);
    assert_eq!(store.calls().renew.load(SeqCst), 0);
    assert_eq!(held.status(), Status::Lost(Cause::Expired));
    assert!(held.release().is_err_and(|error| error.cause() == Some(Cause::Expired)));
}

#[test]
fn no_renewal_begins_after_release_returned() {
    let store = Scripted::on(&Clock::new());
    let lease = Backend::site(&store).settings().lease().get();
    // Released before, at and after its first three renewals.
    for held_for in (0..=100).map(|hundredth| lease * hundredth / 100) {
        for dropped in [false, true] {
            let held = Lock::new(&store, "a").acquire().unwrap();
            store.clock().advance(held_for);
            assert_eq!(held.status(), Status::Held);
            match dropped {
                true => drop(held),
                false => held.release().unwrap(),
            }
            let events = store.events("a");
            assert_eq!(events.last(), Some(&Event::Released));
            store.clock().advance(lease * 10);
            assert_eq!(store.events("a"), events, "renewed after a release at {held_for:?}");
        }
    }
    assert!(store.events("a").contains(&Event::Renewed));
}

#[test]
fn due_renewals_of_one_store_go_out_together() {
    let store = Fake::new(true, settings(Duration::from_secs(2)));
    let held: Vec<_> =
        (0..500).map(|number| Lock::new(&store, format!("batch {number}")).acquire().unwrap()).collect();
    wait_until("all renewed", || store.calls().renew.load(SeqCst) >= 500);
    let batches = store.calls().batches.load(SeqCst);
    assert!(batches < 100, "{batches} batches for 500 leases");
    assert!(held.iter().all(|held| held.status() == Status::Held));
}

#[test]
fn a_store_that_does_not_answer_makes_the_lock_unknown_then_held_again() {
    let store = Fake::new(true, settings(Duration::from_secs(3)));
    let held = Lock::new(&store, "unknown").acquire().unwrap();
    store.set_down(true);
    assert!(held.renew().is_err_and(|error| error.is_unavailable()));
    assert_eq!(held.status(), Status::Unknown);
    store.set_down(false);
    wait_until("held again", || held.status() == Status::Held);
    held.release().unwrap();
}

#[test]
fn what_a_store_may_have_forgotten_is_unknown_until_it_is_verified() {
    let store = Fake::new(true, settings(Duration::from_secs(600)));
    let lock = |name: &str| Lock::new(&store, name).ttl(Duration::from_secs(600)).acquire().unwrap();
    let (fixed, gone, other) = (lock("fixed"), lock("gone"), lock("other"));
    let kept = Lock::new(&store, "kept").acquire().unwrap();
    let released = lock("released");
    released.release().unwrap();
    Backend::site(&store).doubt(|key| !key.ends_with("other"));
    assert_eq!((fixed.status(), other.status()), (Status::Unknown, Status::Held));
    // Long before its time.
    wait_until("the kept one is verified", || kept.status() == Status::Held);
    assert_eq!(store.calls().renew.load(SeqCst), 1);
    fixed.renew().unwrap();
    assert_eq!(fixed.status(), Status::Held);
    store.lose("lock:gone");
    assert!(gone.renew().is_err_and(|error| error.cause() == Some(Cause::Superseded)));
    // What is lost stays so.
    Backend::site(&store).doubt(|_| true);
    assert_eq!(gone.status(), Status::Lost(Cause::Superseded));
}

#[test]
fn a_store_that_never_answers_again_loses_the_lock_at_its_deadline_and_not_before() {
    let store = Fake::new(true, settings(LEASE));
    let held = Lock::new(&store, "gone").acquire().unwrap();
    store.set_down(true);
    let deadline = held.deadline().unwrap();
    let (tell, told) = mpsc::channel();
    held.on_lost(move |cause| tell.send((cause, tenure_core::Moment::now())).unwrap());
    let (cause, when) = told.recv_timeout(Duration::from_secs(10)).unwrap();
    assert_eq!(cause, Cause::Expired);
    assert!(when >= deadline && when.since(deadline) < Duration::from_secs(1));
    assert_eq!(held.status(), Status::Lost(Cause::Expired));
}

#[test]
fn a_hung_store_does_not_delay_another_ones_renewals_or_its_own_loss() {
    let (hung, well) = (Fake::new(true, settings(LEASE)), Fake::new(true, settings(LEASE)));
    let (stuck, kept) = (Lock::new(&hung, "a").acquire().unwrap(), Lock::new(&well, "a").acquire().unwrap());
    hung.set_hung(true);
    assert_eq!(stuck.lost(), Cause::Expired);
    let before = well.calls().renew.load(SeqCst);
    wait_until("more renewals", || well.calls().renew.load(SeqCst) > before + 3);
    assert_eq!(kept.status(), Status::Held);
    hung.set_hung(false);
}

#[test]
fn what_the_store_forgot_is_lost_at_the_next_renewal() {
    let store = Fake::new(true, settings(LEASE));
    let held = Lock::new(&store, "forgotten").acquire().unwrap();
    store.lose("lock:forgotten");
    assert_eq!(held.lost(), Cause::Superseded);
    assert!(held.renew().is_err_and(|error| error.is_lost()));
    assert!(held.release().is_err_and(|error| error.is_lost()));
}

#[test]
fn renewing_never_shortens_but_renew_for_may() {
    let store = Fake::new(true, settings(LEASE));
    let long = Duration::from_secs(60);
    let held = Lock::new(&store, "life").ttl(long).acquire().unwrap();
    held.renew_for(long * 2).unwrap();
    held.renew().unwrap();
    assert!(held.remaining().unwrap() > long);
    held.renew_for(Duration::from_millis(100)).unwrap();
    assert!(held.remaining().unwrap() < Duration::from_millis(100));
    assert_eq!(held.lost(), Cause::Expired);
}

#[test]
fn an_unanswered_shortening_lowers_belief_at_once() {
    let store = Fake::new(true, settings(LEASE));
    let held = Lock::new(&store, "short").ttl(Duration::from_secs(60)).acquire().unwrap();
    store.set_down(true);
    assert!(held.renew_for(Duration::from_millis(500)).is_err());
    assert!(held.remaining().unwrap() <= Duration::from_millis(500));
}

#[test]
fn a_fixed_lock_can_be_kept_alive_later() {
    let store = Fake::new(true, settings(LEASE));
    let held = Lock::new(&store, "later").ttl(LEASE).acquire().unwrap();
    held.keep_alive();
    wait_until("renewals", || store.calls().renew.load(SeqCst) >= 6);
    assert_eq!(held.status(), Status::Held);
    held.renew_for(LEASE).unwrap();
    assert_eq!(held.lost(), Cause::Expired);
}

#[test]
fn an_unanswered_release_is_tried_again_until_it_succeeds() {
    let store = Fake::new(true, settings(Duration::from_secs(30)));
    let held = Lock::new(&store, "again").acquire().unwrap();
    store.set_down(true);
    assert!(held.release().is_err_and(|error| error.is_unavailable()));
    store.set_down(false);
    wait_until("released", || !store.is_held("lock:again"));
}

#[test]
fn a_release_that_goes_unanswered_does_not_keep_renewals_waiting() {
    let store = Fake::new(true, settings(LEASE));
    let kept = Lock::new(&store, "kept").acquire().unwrap();
    let stuck = Lock::new(&store, "stuck").ttl(LEASE * 30).acquire().unwrap();
    store.set_keeping(true);
    assert!(stuck.release().is_err_and(|error| error.is_unavailable()));
    std::thread::sleep(LEASE * 2);
    assert_eq!(kept.status(), Status::Held);
    store.set_keeping(false);
    wait_until("released", || !store.is_held("lock:stuck"));
    kept.release().unwrap();
}

#[test]
fn callbacks_run_once_even_when_one_panics() {
    let store = Fake::new(true, settings(LEASE));
    let held = Lock::new(&store, "calls").ttl(Duration::from_millis(50)).acquire().unwrap();
    let (tell, told) = mpsc::channel();
    held.on_lost(|_| panic!("a bad callback"));
    let again = tell.clone();
    held.on_lost(move |cause| again.send(cause).unwrap());
    assert_eq!(told.recv_timeout(Duration::from_secs(10)), Ok(Cause::Expired));
    held.on_lost(move |cause| tell.send(cause).unwrap());
    assert_eq!(
        told.recv_timeout(Duration::from_secs(10)),
        Ok(Cause::Expired),
        "late listeners are told at once"
    );
    assert!(told.recv_timeout(Duration::from_millis(50)).is_err());
}
