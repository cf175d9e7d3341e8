//! Waits without I/O: who asks, who is told, what is left behind.

use std::panic::Location;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Wake;

use super::*;
use crate::claim::Target;
use crate::{Owner, Settings};

/// Wakes a task of any runtime, as far as the line knows.
#[derive(Default)]
struct Task(AtomicUsize);

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

const NOW: Moment = Moment::from_nanos(1_000_000_000_000);

fn claim(site: &Site) -> Claim {
    let target = Arc::new(Target::new(site, "x"));
    Claim::new(target, site, Owner::random(), Location::caller()).unwrap()
}

/// A wait that was denied and has the store's promise to notify.
fn denied<'c>(site: &'c Site, claim: &'c Claim, waker: &Waker) -> Wait<'c> {
    let mut wait = Wait::new(site, claim, NOW, None);
    if !wait.is_waiting() {
        wait.denied(NOW, Denied::new());
    }
    if let Turn::Watch = wait.turn(waker, NOW) {
        wait.watching(NOW, Ok(Watch::armed(())));
        assert!(matches!(wait.turn(waker, NOW), Turn::Ask), "it asks once more after the promise");
        wait.denied(NOW, Denied::new());
    }
    assert!(matches!(wait.turn(waker, NOW), Turn::Sleep(_)));
    wait
}

#[test]
fn a_task_stands_in_one_line_with_a_thread_and_only_the_first_asks() {
    let site = Site::new("test:", Settings::default());
    let (task, first, second) = (Arc::new(Task::default()), claim(&site), claim(&site));
    let waker = Waker::from(task.clone());
    let mut thread = crate::waiter::with_thread_waker(|waker| denied(&site, &first, waker));
    let mut tasks = denied(&site, &second, &waker);
    site.notify("lock:x");
    assert!(matches!(tasks.turn(&waker, NOW), Turn::Sleep(Moment::FAR)), "the second asked");
    assert!(matches!(crate::waiter::with_thread_waker(|waker| thread.turn(waker, NOW)), Turn::Ask));
    thread.won(Lease::Session);
    assert_eq!(task.0.load(Ordering::SeqCst), 1, "the task was not told that it is the first");
    assert!(
        matches!(tasks.turn(&waker, NOW), Turn::Sleep(until) if until != Moment::FAR),
        "it asked in vain"
    );
    site.notify("lock:x");
    assert!(matches!(tasks.turn(&waker, NOW), Turn::Ask));
}

#[test]
fn a_dropped_wait_leaves_nothing_behind_and_the_next_one_asks() {
    let site = Site::new("test:", Settings::default());
    let (task, first, second) = (Arc::new(Task::default()), claim(&site), claim(&site));
    let waker = Waker::from(task.clone());
    let dropped = denied(&site, &first, &waker);
    let mut next = denied(&site, &second, &waker);
    assert_eq!(site.waiting("lock:x"), 2);
    drop(dropped);
    assert!(matches!(next.turn(&waker, NOW), Turn::Ask));
    drop(next);
    assert_eq!(site.waiting("lock:x"), 0);
    assert!(!site.has_line("lock:x"));
}

#[test]
fn of_those_who_come_at_once_only_the_first_asks_a_store_with_a_queue() {
    let site = Site::queued("test:", Settings::default());
    let (first, second) = (claim(&site).waiting(), claim(&site).waiting());
    let waker = Waker::from(Arc::new(Task::default()));
    let mut one = Wait::new(&site, &first, NOW, Some(NOW));
    let mut other = Wait::new(&site, &second, NOW, None);
    assert!(matches!(one.turn(&waker, NOW), Turn::Ask), "it did not ask once");
    assert!(matches!(other.turn(&waker, NOW), Turn::Sleep(Moment::FAR)), "both asked");
    one.won(Lease::For(Duration::from_secs(30)));
    assert!(matches!(other.turn(&waker, NOW), Turn::Ask), "it took no place in the queue");
}

#[test]
fn a_store_with_a_queue_that_is_down_when_first_asked_is_an_error_at_once_for_the_whole_line() {
    let site = Site::queued("test:", Settings::default());
    let (first, second) = (claim(&site).waiting(), claim(&site).waiting());
    let waker = Waker::from(Arc::new(Task::default()));
    let mut one = Wait::new(&site, &first, NOW, None);
    let mut other = Wait::new(&site, &second, NOW, None);
    assert!(matches!(one.turn(&waker, NOW), Turn::Ask));
    assert!(one.failed(NOW, Error::unavailable("down")).is_err(), "it was patient");
    assert!(matches!(other.turn(&waker, NOW), Turn::Failed(_)));
}

#[test]
fn whose_lease_is_too_short_for_the_answer_is_alone_with_that() {
    let site = Site::queued("test:", Settings::default());
    let (first, second) = (claim(&site).waiting(), claim(&site).waiting());
    let waker = Waker::from(Arc::new(Task::default()));
    let mut one = Wait::new(&site, &first, NOW, None);
    let mut other = Wait::new(&site, &second, NOW, None);
    assert!(matches!(one.turn(&waker, NOW), Turn::Ask));
    assert!(one.failed(NOW, Error::granted_too_late()).is_err(), "it was patient");
    assert!(
        matches!(other.turn(&waker, NOW), Turn::Sleep(_)),
        "it failed with the first, or asked beside it"
    );
    assert!(one.give_up().1, "what came too late stays in the store");
    assert!(matches!(other.turn(&waker, NOW), Turn::Ask), "it is not the first now");
}

#[test]
fn whose_answers_are_too_late_again_and_again_is_alone_with_that() {
    let site = Site::new("test:", Settings::default());
    let (first, second) = (claim(&site), claim(&site));
    let waker = Waker::from(Arc::new(Task::default()));
    let (mut one, mut other) = (denied(&site, &first, &waker), denied(&site, &second, &waker));
    let mut now = NOW;
    while one.failed(now, Error::granted_too_late()).is_ok() {
        now = now + Duration::from_secs(1);
        assert!(now < NOW + Duration::from_secs(60), "its patience has no end");
    }
    drop(one);
    assert!(matches!(other.turn(&waker, now), Turn::Ask), "it failed with the first");
}

#[test]
fn who_has_a_place_in_the_queue_of_a_store_asks_again_only_when_told_to_and_leaves_it() {
    let site = Site::queued("test:", Settings::default());
    let (claim, waker) = (claim(&site).waiting(), Waker::from(Arc::new(Task::default())));
    let mut wait = Wait::new(&site, &claim, NOW, None);
    wait.denied(NOW, Denied::new().retry_after(Duration::from_secs(30)).queued());
    assert!(matches!(wait.turn(&waker, NOW), Turn::Watch));
    let recheck = Duration::from_secs(5);
    wait.watching(NOW, Ok(Watch::queued(()).recheck_within(recheck)));
    let sleeps =
        |wait: &mut Wait<'_>| matches!(wait.turn(&waker, NOW), Turn::Sleep(until) if until == NOW + recheck);
    assert!(sleeps(&mut wait), "it asked although the store would deliver");
    site.released("lock:x");
    assert!(sleeps(&mut wait), "it asked for what the store hands on");
    site.recheck(claim.owner());
    assert!(matches!(wait.turn(&waker, NOW), Turn::Ask), "it did not ask although it was told to");
    let (given, leftover) = wait.give_up();
    assert!(given.is_none() && leftover, "its place in the queue stays taken");
}

#[test]
fn who_is_told_to_ask_while_its_place_is_promised_asks() {
    let site = Site::queued("test:", Settings::default());
    let (claim, waker) = (claim(&site).waiting(), Waker::from(Arc::new(Task::default())));
    let mut wait = Wait::new(&site, &claim, NOW, None);
    wait.denied(NOW, Denied::new().retry_after(Duration::from_secs(30)).queued());
    // As when the connection broke over which it was handed the lock.
    site.notify_all();
    assert!(matches!(wait.turn(&waker, NOW), Turn::Watch));
    wait.watching(NOW, Ok(Watch::queued(())));
    assert!(matches!(wait.turn(&waker, NOW), Turn::Ask), "it waits for what it was told already");
    wait.denied(NOW, Denied::new().retry_after(Duration::from_secs(30)).queued());
    assert!(matches!(wait.turn(&waker, NOW), Turn::Sleep(_)), "it asks again and again");
}

/// Two waits of one process: one that wins as often as a process may in a row, and the one behind it.
fn after_a_turn(promise: fn() -> Watch, check: impl FnOnce(&Site, &mut Wait<'_>, &Waker)) {
    let site = Site::new("test:", Settings::default());
    let claims: Vec<_> = (0..17).map(|_| claim(&site)).collect();
    let waker = Waker::from(Arc::new(Task::default()));
    let mut waits: Vec<_> = claims.iter().map(|claim| Wait::new(&site, claim, NOW, None)).collect();
    for wait in &mut waits {
        wait.denied(NOW, Denied::new());
        if let Turn::Watch = wait.turn(&waker, NOW) {
            wait.watching(NOW, Ok(promise()));
        }
    }
    let mut next = waits.pop().unwrap();
    for mut wait in waits {
        wait.won(Lease::Session);
    }
    assert!(matches!(next.turn(&waker, NOW), Turn::Sleep(_)), "it asked before the release");
    check(&site, &mut next, &waker);
}

#[test]
fn after_its_turn_a_process_rests_from_its_release_on() {
    after_a_turn(
        || Watch::armed(()),
        |site, next, waker| {
            let released = NOW + Duration::from_secs(1);
            site.released("lock:x");
            let Turn::Sleep(until) = next.turn(waker, released) else { panic!("it asked at once") };
            let pause = until.since(released);
            assert!(pause >= Duration::from_millis(1) && pause <= Duration::from_millis(5), "{pause:?}");
            assert!(matches!(next.turn(waker, until), Turn::Ask));
        },
    );
}

#[test]
fn after_its_turn_a_process_waits_for_a_store_that_tells_processes_in_turn() {
    after_a_turn(
        || Watch::armed(()).in_turn(),
        |site, next, waker| {
            site.released("lock:x");
            let soon = NOW + Duration::from_millis(200);
            assert!(matches!(next.turn(waker, soon), Turn::Sleep(until) if until > soon), "it asked");
            site.notify("lock:x");
            assert!(matches!(next.turn(waker, soon), Turn::Ask), "it did not ask in its turn");
        },
    );
}

#[test]
fn a_store_that_tells_before_the_release_is_known_is_heard() {
    after_a_turn(
        || Watch::armed(()).in_turn(),
        |site, next, waker| {
            site.notify("lock:x");
            assert!(matches!(next.turn(waker, NOW), Turn::Ask));
        },
    );
}

#[test]
fn a_delivered_grant_reaches_its_waiter_once_and_nobody_who_left() {
    let site = Site::direct("test:", Settings::default());
    let (first, second) = (claim(&site), claim(&site));
    let waker = Waker::from(Arc::new(Task::default()));
    let granted = || Granted::new(7_u32, crate::Fence::new(1), Lease::Session);
    let mut wait = Wait::new(&site, &first, NOW, None);
    wait.denied(NOW, Denied::new());
    assert_eq!(site.deliver("lock:x", second.owner(), granted()), crate::Delivery::Gone);
    assert_eq!(site.deliver("lock:x", first.owner(), granted()), crate::Delivery::Given);
    assert_eq!(site.deliver("lock:x", first.owner(), granted()), crate::Delivery::Gone, "given twice");
    let Turn::Given(given) = wait.turn(&waker, NOW) else { panic!("nothing was delivered") };
    assert_eq!(given.grant.take::<u32>(), Some(7));
    wait.won(Lease::Session);
    let mut late = Wait::new(&site, &second, NOW, None);
    late.denied(NOW, Denied::new());
    assert!(late.give_up().0.is_none());
    assert_eq!(site.deliver("lock:x", second.owner(), granted()), crate::Delivery::Gone);
}
