//! Asynchronous locks on a store whose every request is in doubt for a while.

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
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use polled::AsyncFake;
use support::{Fake, settings, wait_until};
use tenure_core::aio::{AnyBackend, Lock, block_on};
use tenure_core::testing::{Clock, Event, Scripted};
use tenure_core::{Backend, Cause, Held, Status};

const LONG: Duration = Duration::from_secs(30);
const SOON: Duration = Duration::from_secs(10);

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// Polls a future some times, and drops it unless it is done.
fn poll_times<T>(times: usize, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    (0..times).find_map(|_| match poll(future.as_mut()) {
        Poll::Ready(done) => Some(done),
        Poll::Pending => None,
    })
}

#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

/// Nothing is held, nobody waits, and the next one gets the lock.
fn nothing_is_left(store: &AsyncFake, name: &str) {
    let key = format!("lock:{name}");
    wait_until("the lock is free", || !store.fake().is_held(&key));
    assert_eq!(store.fake().site().waiting(&key), 0, "somebody stands in line");
    drop(block_on(Lock::new(store, name).try_acquire()).expect("the name is free"));
    wait_until("the dropped lock is free", || !store.fake().is_held(&key));
}

#[test]
fn an_acquire_dropped_at_any_poll_leaves_nothing_behind() {
    let store = AsyncFake::new(Fake::new(true, settings(LONG)), 2);
    let polls = (0..).find(|polls| {
        let name = format!("drop at {polls}");
        let done = poll_times(*polls, Lock::new(&store, name.as_str()).acquire());
        let ended = done.is_some();
        drop(done);
        nothing_is_left(&store, &name);
        ended
    });
    // Two polls before the request is carried out and two before its answer, at least.
    assert!(polls > Some(4), "{polls:?}");
}

#[test]
fn a_waiter_dropped_at_any_poll_leaves_nothing_behind() {
    let store = AsyncFake::new(Fake::new(true, settings(LONG)), 2);
    for free_at in [None, Some(6), Some(12)] {
        let polls = (0..40).find(|polls| {
            let name = format!("drop at {polls}, free at {free_at:?}");
            let lock = Lock::new(&store, name.as_str());
            let holder = tenure_core::Lock::new(store.fake(), name.as_str()).try_acquire().unwrap();
            let mut holder = Some(holder);
            let mut waiting = Box::pin(lock.acquire());
            let mut done = None;
            for at in 0..*polls {
                if Some(at) == free_at
                    && let Some(holder) = holder.take()
                {
                    holder.release().unwrap();
                }
                if let Poll::Ready(answer) = poll(waiting.as_mut()) {
                    done = Some(answer);
                    break;
                }
            }
            let ended = done.is_some();
            drop(waiting);
            drop((done, holder));
            nothing_is_left(&store, &name);
            ended
        });
        assert_eq!(polls.is_some(), free_at.is_some(), "{polls:?}");
    }
}

#[test]
fn a_timeout_or_a_drop_in_front_lets_the_next_task_ask() {
    let store = AsyncFake::new(Fake::new(true, settings(LONG)), 1);
    let holder = tenure_core::Lock::new(store.fake(), "a").try_acquire().unwrap();
    let lock = Lock::new(&store, "a");
    let mut front = Box::pin(lock.acquire());
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(woken.clone());
    let mut next = Box::pin(lock.acquire());
    while store.fake().site().waiting("lock:a") < 2 {
        assert!(poll(front.as_mut()).is_pending());
        if store.fake().site().waiting("lock:a") == 1 {
            assert!(next.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        }
    }
    holder.release().unwrap();
    drop(front);
    wait_until("the next one is woken", || woken.0.load(SeqCst) > 0);
    block_on(async { next.await.unwrap().release().await.unwrap() });
}

#[test]
fn the_next_in_line_is_told_when_what_a_dropped_waiter_left_is_gone() {
    let store = AsyncFake::new(Fake::new(true, settings(LONG)), 4);
    let lock = Lock::new(&store, "a");
    let mut front = Box::pin(lock.acquire());
    // The request is carried out, and its answer under way.
    while !store.fake().is_held("lock:a") {
        assert!(poll(front.as_mut()).is_pending());
    }
    thread::scope(|scope| {
        let next = scope.spawn(|| {
            let held = block_on(lock.acquire_for(SOON)).unwrap();
            block_on(held.release()).unwrap();
            Instant::now()
        });
        wait_until("the next one was denied", || store.fake().calls().watch.load(SeqCst) == 1);
        let dropped = Instant::now();
        drop(front);
        let waited = next.join().unwrap() - dropped;
        assert!(waited < Duration::from_secs(2), "it waited {waited:?}");
    });
}

#[test]
fn a_release_dropped_at_any_poll_goes_on() {
    let store = AsyncFake::new(Fake::new(true, settings(LONG)), 2);
    let polls = (0..).find(|polls| {
        let name = format!("drop at {polls}");
        let held = block_on(Lock::new(&store, name.as_str()).acquire()).unwrap();
        let done = poll_times(*polls, held.release());
        nothing_is_left(&store, &name);
        done.is_some()
    });
    assert!(polls > Some(4), "{polls:?}");
}

#[test]
fn ten_thousand_tasks_are_one_waiter_at_the_store() {
    let store = AsyncFake::new(Fake::new(true, settings(LONG)), 0);
    let holder = block_on(Lock::new(&store, "busy").acquire()).unwrap();
    let lock = Lock::new(&store, "busy");
    let mut tasks: Vec<_> = (0..10_000).map(|_| Box::pin(lock.acquire())).collect();
    for task in &mut tasks {
        assert!(poll(task.as_mut()).is_pending());
    }
    let asked = store.fake().calls().acquire.load(SeqCst);
    assert!(asked <= 4, "{asked} requests for one line of tasks");
    assert_eq!(store.fake().site().waiting("lock:busy"), 10_000);
    assert_eq!(store.fake().calls().watch.load(SeqCst), 1, "more than one of them listens");
    block_on(holder.release()).unwrap();
    // Each that is served asks once or twice; a few are enough to see it.
    let mut tasks = tasks.into_iter();
    for task in tasks.by_ref().take(50) {
        block_on(async { task.await.unwrap().release().await.unwrap() });
    }
    let asked = store.fake().calls().acquire.load(SeqCst) - asked;
    assert!(asked <= 110, "{asked} requests for 50 acquisitions");
    drop(tasks);
    nothing_is_left(&store, "busy");
}

#[test]
fn an_idle_line_of_tasks_asks_now_and_then_and_as_one() {
    let store = Scripted::on(&Clock::new());
    let recheck = Backend::site(&store).settings().recheck();
    let _taken = store.taken("busy");
    let lock = Lock::new(&store, "busy");
    let mut tasks: Vec<_> = (0..1000).map(|_| Box::pin(lock.acquire())).collect();
    // How many questions there were in all, after some time in which every task looked around.
    let mut asked_after = |time| {
        store.clock().advance(time);
        for task in &mut tasks {
            assert!(poll(task.as_mut()).is_pending());
        }
        store.events("busy").len()
    };
    let asked = asked_after(Duration::ZERO);
    assert!(asked <= 4, "{asked} questions of tasks that came together");
    assert_eq!(asked_after(recheck / 2), asked, "an idle line asks");
    let more = (0..10).map(|_| asked_after(recheck)).last().unwrap_or_default() - asked;
    assert!((4..=10).contains(&more), "{more} questions in ten times of what is trusted");
}

#[test]
fn tasks_and_threads_stand_in_one_line() {
    let store = AsyncFake::new(Fake::new(true, settings(LONG)), 0);
    let holder = block_on(Lock::new(&store, "a").acquire()).unwrap();
    let waiting = |count| {
        wait_until("they stand in line", || store.fake().site().waiting("lock:a") == count);
    };
    let order = std::sync::Mutex::new(Vec::new());
    thread::scope(|scope| {
        for number in 0..6 {
            let (store, order) = (&store, &order);
            scope.spawn(move || {
                let done = || order.lock().unwrap().push(number);
                if number % 2 == 0 {
                    let held = tenure_core::Lock::new(store.fake(), "a").acquire().unwrap();
                    done();
                    held.release().unwrap();
                } else {
                    block_on(async {
                        let held = Lock::new(store, "a").acquire().await.unwrap();
                        done();
                        held.release().await.unwrap();
                    });
                }
            });
            waiting(number + 1);
        }
        block_on(holder.release()).unwrap();
    });
    assert_eq!(order.into_inner().unwrap(), (0..6).collect::<Vec<_>>());
}

#[test]
fn a_kept_lock_is_renewed_by_tasks_and_ends_with_its_release() {
    let store = Scripted::on(&Clock::new());
    let held = block_on(Lock::new(&store, "a").acquire()).unwrap();
    store.clock().advance(LONG * 10);
    assert_eq!(held.status(), Status::Held);
    let renewals = store.events("a").iter().filter(|event| **event == Event::Renewed).count();
    assert!(renewals >= 10, "{renewals} renewals in the time of ten leases");
    // The next one is under way when it is released.
    store.on_renewal("a", ..).take(LONG / 2);
    while store.events("a").iter().filter(|event| **event == Event::Renewed).count() == renewals {
        store.clock().advance(LONG / 100);
    }
    block_on(held.release()).unwrap();
    let events = store.events("a");
    assert_eq!(events.last(), Some(&Event::Released));
    store.clock().advance(LONG * 10);
    assert_eq!(store.events("a"), events, "it is renewed after its release");
}

#[test]
fn a_batch_that_is_dropped_with_its_runtime_is_tried_again() {
    let store = AsyncFake::new(Fake::new(true, settings(Duration::from_millis(300))), 1);
    let held = block_on(Lock::new(&store, "a").acquire()).unwrap();
    store.drop_tasks(true);
    wait_until("a renewal was dropped", || held.status() == Status::Unknown);
    store.drop_tasks(false);
    wait_until("it is renewed all the same", || held.status() == Status::Held);
}

#[test]
fn a_runtime_that_has_ended_is_given_renewals_no_faster_than_a_store_that_is_silent() {
    let store = AsyncFake::new(Fake::new(true, settings(Duration::from_millis(900))), 1);
    let held = block_on(Lock::new(&store, "a").acquire()).unwrap();
    store.end_runtime(true);
    wait_until("a renewal was dropped", || store.spawned() > 0);
    wait_until("it counts as unanswered", || held.status() != Status::Held);
    assert_eq!(block_on(held.lost()), Cause::Expired);
    assert!(store.spawned() < 20, "{} tasks in two thirds of a lease", store.spawned());
}

#[test]
fn a_loss_wakes_every_task_that_waits_for_it() {
    let store = AsyncFake::new(Fake::new(true, settings(Duration::from_millis(100))), 0);
    let held = block_on(Lock::new(&store, "a").acquire()).unwrap();
    let gone = poll_times(2, held.lost());
    assert!(gone.is_none());
    store.fake().lose("lock:a");
    thread::scope(|scope| {
        let tasks: Vec<_> = (0..4).map(|_| scope.spawn(|| block_on(held.lost()))).collect();
        for task in tasks {
            assert_eq!(task.join().unwrap(), Cause::Superseded);
        }
    });
    let began = Instant::now();
    let error = block_on(held.guarded(pending::<()>())).unwrap_err();
    assert!(error.is_lost() && began.elapsed() < SOON, "{error}");
    assert!(block_on(held.release()).is_err_and(|error| error.is_lost()));
}

#[test]
fn guarded_work_is_dropped_when_the_lease_ends() {
    struct Dropped<'a>(&'a AtomicUsize);
    impl Drop for Dropped<'_> {
        fn drop(&mut self) {
            self.0.fetch_add(1, SeqCst);
        }
    }
    let store = AsyncFake::new(Fake::new(true, settings(LONG)), 0);
    let dropped = AtomicUsize::new(0);
    let held = block_on(Lock::new(&store, "a").ttl(Duration::from_millis(80)).acquire()).unwrap();
    let work = async {
        let _here = Dropped(&dropped);
        pending::<()>().await;
    };
    assert!(block_on(held.guarded(work)).is_err_and(|error| error.is_lost()));
    assert_eq!(dropped.load(SeqCst), 1);
}

#[test]
fn a_dropped_lock_never_blocks_and_is_free_soon() {
    let store = AsyncFake::new(Fake::new(true, settings(LONG)), 3);
    let held = block_on(Lock::new(&store, "a").acquire()).unwrap();
    store.fake().set_down(true);
    let began = Instant::now();
    drop(held);
    assert!(began.elapsed() < Duration::from_millis(100), "the drop took {:?}", began.elapsed());
    assert!(store.fake().is_held("lock:a"));
    store.fake().set_down(false);
    let up = Instant::now();
    wait_until("it is released", || !store.fake().is_held("lock:a"));
    assert!(up.elapsed() < Duration::from_secs(1), "free only after {:?}", up.elapsed());
}

#[test]
fn a_release_that_goes_unanswered_is_made_up_for() {
    let store = AsyncFake::new(Fake::new(true, settings(LONG)), 0);
    let held = block_on(Lock::new(&store, "a").acquire()).unwrap();
    store.fake().set_keeping(true);
    assert!(block_on(held.release()).is_err_and(|error| error.is_unavailable()));
    store.fake().set_keeping(false);
    wait_until("it is released", || !store.fake().is_held("lock:a"));
}

#[test]
fn a_lifetime_is_changed_by_one_request_at_a_time() {
    let store = AsyncFake::new(Fake::new(true, settings(LONG)), 3);
    let held = block_on(Lock::new(&store, "a").ttl(LONG).acquire()).unwrap();
    let mut first = Box::pin(held.renew_for(SOON));
    assert!(poll(first.as_mut()).is_pending());
    let mut second = Box::pin(held.renew());
    for _ in 0..20 {
        assert!(poll(second.as_mut()).is_pending(), "two requests were under way");
    }
    // Dropped half-way: believed in for the shorter of two lifetimes, and the next one has its turn.
    drop(first);
    assert!(held.remaining().unwrap() <= SOON);
    assert_eq!(held.status(), Status::Unknown);
    block_on(second).unwrap();
    assert_eq!(held.status(), Status::Held);
}

#[test]
fn futures_can_be_sent() {
    fn sent<T: Send>(_: T) {}
    let store = AnyBackend::new(AsyncFake::new(Fake::new(true, settings(LONG)), 0));
    let lock = Lock::new(&store, "a");
    sent(lock.try_acquire());
    sent(lock.acquire());
    sent(lock.acquire_for(SOON));
    sent(lock.run(async |held: &Lock<AnyBackend, Held>| held.fence()));
    let held = block_on(lock.acquire()).unwrap();
    sent(held.renew());
    sent(held.renew_for(SOON));
    sent(held.lost());
    sent(held.guarded(async { 7 }));
    sent(held.release());
}
