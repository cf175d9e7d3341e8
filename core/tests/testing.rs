//! The scripted store and its clock, as users' tests have them.

use std::future::Future;
use std::panic::catch_unwind;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use tenure_core::aio::{self, block_on};
use tenure_core::testing::{Clock, Event, Scripted, assert_held, assert_lost};
use tenure_core::{Backend, Breaking, Cause, Inspect, Lock, Name, Result, Settings, Status};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_lock_is_lost_at_the_second_renewal() -> Result<()> {
    let store = Scripted::new();
    store.on_renewal("job", 2).lose(Cause::Superseded);
    let held = Lock::new(&store, "job").acquire()?;
    store.clock().advance(SECOND * 12);
    assert_held(&held);
    store.clock().advance(SECOND * 12);
    assert_lost(&held);
    assert_eq!(held.lost(), Cause::Superseded);
    assert!(held.release().is_err_and(|error| error.is_lost()));
    let renewed = [Event::Renewed, Event::Lost(Cause::Superseded)];
    assert_eq!(store.events("job")[1..3], renewed);
    Ok(())
}

#[test]
fn an_outage_makes_a_lock_doubtful_and_then_lost() -> Result<()> {
    let store = Scripted::new();
    let held = Lock::new(&store, "job").acquire()?;
    store.set_down(true);
    store.clock().advance(SECOND * 12);
    assert_eq!(held.status(), Status::Unknown);
    assert!(catch_unwind(|| assert_held(&held)).is_err(), "a doubtful lock counts as held");
    store.set_down(false);
    store.clock().advance(SECOND * 6);
    assert_held(&held);
    store.set_down(true);
    store.clock().advance(SECOND * 40);
    assert_eq!(held.status(), Status::Lost(Cause::Expired));
    Ok(())
}

#[test]
fn a_wait_of_an_hour_takes_no_time() -> Result<()> {
    let began = Instant::now();
    let store = Scripted::new();
    store.taken_for("job", SECOND * 3600);
    let error = Lock::new(&store, "job").acquire_for(SECOND * 60).unwrap_err();
    assert!(error.is_timed_out(), "{error}");
    let waited_from = store.clock().now();
    let held = Lock::new(&store, "job").acquire()?;
    let waited = store.clock().now().since(waited_from);
    assert!(waited >= SECOND * 3500 && waited < SECOND * 3700, "{waited:?}");
    assert!(began.elapsed() < SECOND * 10);
    held.release()?;
    assert!(!store.is_held("job"));
    Ok(())
}

#[test]
fn somebody_else_holds_a_name_as_long_as_the_test_says() -> Result<()> {
    let store = Scripted::new();
    let other = store.taken("job");
    assert!(Lock::new(&store, "job").try_acquire().is_err_and(|error| error.is_contended()));
    drop(other);
    let held = Lock::new(&store, "job").ttl(SECOND * 60).try_acquire()?;
    let thief = store.taken("job");
    assert!(held.renew().is_err_and(|error| error.cause() == Some(Cause::Superseded)));
    assert_lost(&held);
    drop((held, thief));
    assert!(!store.is_held("job"));
    Ok(())
}

#[test]
fn calls_fail_go_unanswered_and_take_their_time_as_scripted() -> Result<()> {
    let store = Scripted::new();
    store.on_acquire("job", 1).fail();
    store.on_acquire("job", 2).go_unanswered();
    store.on_acquire("job", 3).deny();
    let lock = Lock::new(&store, "job").ttl(SECOND * 10);
    assert!(lock.try_acquire().is_err_and(|error| error.is_unavailable() && error.is_settled()));
    assert!(store.events("job").is_empty(), "a call that failed had an effect");
    assert!(lock.try_acquire().is_err_and(|error| error.is_unavailable() && !error.is_settled()));
    assert_eq!(store.events("job").last(), Some(&Event::Released), "what was granted was not taken back");
    assert!(lock.try_acquire().is_err_and(|error| error.is_contended()));

    store.on_acquire("slow", 1).take(SECOND * 4);
    store.on_acquire("slow", 2).take(SECOND * 60);
    let slow = Lock::new(&store, "slow").ttl(SECOND * 10);
    let held = slow.try_acquire()?;
    assert!(held.remaining().is_some_and(|left| left < SECOND * 6), "{:?}", held.remaining());
    drop(held);
    let late = slow.try_acquire().unwrap_err();
    assert!(late.is_unavailable() && late.to_string().contains("longer ttl"), "{late}");

    store.on_release("kept", 1).go_unanswered();
    let held = Lock::new(&store, "kept").acquire()?;
    assert!(held.release().is_err_and(|error| error.is_unavailable()));
    assert!(!store.is_held("kept"));
    Ok(())
}

#[test]
fn a_release_that_failed_is_tried_again_in_the_time_of_the_clock() -> Result<()> {
    let store = Scripted::new();
    store.on_release("job", 1..=3).fail();
    let held = Lock::new(&store, "job").acquire()?;
    assert!(held.release().is_err_and(|error| error.is_unavailable()));
    assert!(store.is_held("job"));
    store.clock().advance(SECOND);
    assert!(!store.is_held("job"), "{:?}", store.events("job"));
    Ok(())
}

#[test]
fn a_fixed_lease_ends_in_the_time_of_the_clock() -> Result<()> {
    let store = Scripted::new();
    let held = Lock::new(&store, "job").ttl(SECOND * 10).acquire()?;
    let (tell, told) = std::sync::mpsc::channel();
    held.on_lost(move |cause| tell.send(cause).unwrap());
    store.clock().advance(SECOND * 9);
    assert_held(&held);
    store.clock().advance(SECOND);
    assert_eq!(told.recv_timeout(SECOND * 10), Ok(Cause::Expired));
    assert!(!store.is_held("job"));
    Ok(())
}

#[test]
fn an_operator_breaks_a_lock() -> Result<()> {
    let store = Scripted::new();
    let held = Lock::new(&store, "job").acquire()?;
    let name = Name::new("job")?;
    assert!(store.inspect(&name)?.is_some_and(|holder| holder.fence() == held.fence()));
    let seen = Inspect::force_release(&store, &name, Breaking::Now, "because")?;
    assert!(seen.is_some() && !store.is_held("job"));
    store.clock().advance(SECOND * 12);
    assert_eq!(held.status(), Status::Lost(Cause::Forced));
    let next = Lock::new(&store, "job").acquire()?;
    assert!(next.fence() > held.fence());
    Ok(())
}

#[test]
fn a_task_waits_until_the_clock_is_moved() -> Result<()> {
    let store = Scripted::on(&Clock::new());
    store.taken_for("job", SECOND * 30);
    let lock = aio::Lock::new(&store, "job");
    let mut waiting = pin!(lock.acquire_for(SECOND * 60));
    let mut look = || waiting.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(look().is_pending());
    store.clock().advance(SECOND * 29);
    assert!(look().is_pending());
    store.clock().advance(SECOND * 2);
    let Poll::Ready(held) = look() else { panic!("it still waits") };
    let held = held?;
    let mut lost = pin!(held.lost());
    assert!(lost.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    store.on_renewal("job", ..).fail();
    store.clock().advance(SECOND * 31);
    assert_eq!(lost.as_mut().poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(Cause::Expired));
    assert_lost(&held);
    Ok(())
}

#[test]
fn an_acquire_that_is_dropped_while_its_answer_is_under_way_leaves_nothing() {
    let store = Scripted::on(&Clock::new());
    store.on_acquire("job", 1).take(SECOND * 3);
    let lock = aio::Lock::new(&store, "job");
    {
        let mut asking = pin!(lock.try_acquire());
        assert!(asking.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        assert!(store.is_held("job"));
    }
    assert!(!store.is_held("job"));
    store.on_release("job", 1..).take(SECOND);
    let held = block_on(lock.try_acquire()).unwrap();
    drop(held);
    store.clock().advance(SECOND * 2);
    assert!(!store.is_held("job"));
}

#[test]
fn two_threads_share_a_clock_that_one_of_them_moves() -> Result<()> {
    let clock = Clock::new();
    let store = Scripted::with_settings(Settings::default(), &clock);
    let began = clock.now();
    let held = Lock::new(&store, "job").ttl(SECOND * 20).acquire()?;
    std::thread::scope(|scope| {
        let wait =
            || Lock::new(&store, "job").acquire_for(SECOND * 300).map(|next| (next.fence(), clock.now()));
        let waiter = scope.spawn(wait);
        while Backend::site(&store).waiting("lock:job") == 0 {
            std::thread::yield_now();
        }
        // When the waiter looks again is its own affair, so the clock goes on until it has the lock; no
        // faster than a thread that was woken asks.
        while !waiter.is_finished() {
            clock.advance(SECOND / 10);
            std::thread::sleep(SECOND / 1000);
        }
        let (fence, granted) = waiter.join().unwrap().unwrap();
        assert!(fence > held.fence());
        assert!(granted.since(began) >= SECOND * 20, "granted after {:?}", granted.since(began));
    });
    assert_lost(&held);
    Ok(())
}

/// What the store has granted meanwhile, one after another, without a release between.
fn is_only_granted(store: &Scripted) -> bool {
    let events = store.events("job");
    let grants = events.iter().skip_while(|event| **event == Event::Denied);
    grants.clone().count() == 2 && grants.clone().all(|event| matches!(event, Event::Granted(_)))
}

/// It asks again with the same token: a release that is still under way would end what it gets.
#[test]
fn a_waiter_whose_answer_came_too_late_releases_nothing_before_it_asks_again() -> Result<()> {
    let store = Scripted::new();
    store.taken_for("job", SECOND);
    store.on_acquire("job", 2..=3).take(SECOND * 2);
    let held = Lock::new(&store, "job").ttl(SECOND).acquire_for(SECOND * 60)?;
    assert!(is_only_granted(&store), "{:?}", store.events("job"));
    held.renew()?;
    held.release()
}

#[test]
fn a_waiting_task_whose_answer_came_too_late_releases_nothing_before_it_asks_again() -> Result<()> {
    let store = Scripted::on(&Clock::new());
    store.taken_for("job", SECOND);
    store.on_acquire("job", 2..=3).take(SECOND * 2);
    let lock = aio::Lock::new(&store, "job").ttl(SECOND);
    let mut waiting = pin!(lock.acquire_for(SECOND * 60));
    let held = loop {
        match waiting.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(held) => break held?,
            Poll::Pending => store.clock().advance(SECOND / 100),
        }
    };
    assert!(is_only_granted(&store), "{:?}", store.events("job"));
    block_on(held.renew())?;
    block_on(held.release())
}
