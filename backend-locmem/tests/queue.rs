//! What is true of local memory alone: its own queue, and entries that come and go.

use std::future::Future;
use std::panic::catch_unwind;
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use tenure_core::aio::{self, block_on};
use tenure_core::{
    Attempt, Backend, Claim, Held, Inspect, Lock, Name, Release, Renewal, Result, Site, Status, Watch,
};
use tenure_locmem::LocMem;

const SOON: Duration = Duration::from_secs(10);

#[test]
fn a_release_hands_the_lock_to_waiters_in_the_order_in_which_they_came() {
    let store = LocMem::for_this_process_only();
    let held = Lock::new(&store, "queue").acquire().unwrap();
    let (tell, order) = mpsc::channel();
    thread::scope(|scope| {
        for number in 0..8 {
            let (store, tell) = (&store, tell.clone());
            scope.spawn(move || {
                let held = Lock::new(store, "queue").acquire_for(SOON).unwrap();
                tell.send(number).unwrap();
                held.release().unwrap();
            });
            wait_until(|| store.waiting("lock:queue") == number + 1);
        }
        held.release().unwrap();
    });
    drop(tell);
    assert_eq!(order.iter().collect::<Vec<_>>(), (0..8).collect::<Vec<_>>());
}

#[test]
fn tasks_and_threads_wait_in_one_queue() {
    let store = LocMem::for_this_process_only();
    let held = block_on(aio::Lock::new(&store, "queue").acquire()).unwrap();
    let (tell, order) = mpsc::channel();
    thread::scope(|scope| {
        for number in 0..8 {
            let (store, tell) = (&store, tell.clone());
            scope.spawn(move || {
                if number % 2 == 0 {
                    let held = Lock::new(store, "queue").acquire_for(SOON).unwrap();
                    tell.send(number).unwrap();
                    held.release().unwrap();
                } else {
                    block_on(async {
                        let held = aio::Lock::new(store, "queue").acquire_for(SOON).await.unwrap();
                        tell.send(number).unwrap();
                        held.release().await.unwrap();
                    });
                }
            });
            wait_until(|| store.waiting("lock:queue") == number + 1);
        }
        block_on(held.release()).unwrap();
    });
    drop(tell);
    assert_eq!(order.iter().collect::<Vec<_>>(), (0..8).collect::<Vec<_>>());
}

#[test]
fn a_task_that_is_dropped_leaves_the_queue_and_passes_on_what_it_was_given() {
    let store = LocMem::for_this_process_only();
    let lock = aio::Lock::new(&store, "queue");
    let held = block_on(lock.acquire()).unwrap();
    let mut cx = Context::from_waker(Waker::noop());
    let (mut first, mut second) = (Box::pin(lock.acquire()), Box::pin(lock.acquire()));
    assert!(first.as_mut().poll(&mut cx).is_pending() && second.as_mut().poll(&mut cx).is_pending());
    assert_eq!(store.waiting("lock:queue"), 2);
    // The first one has the lock now, and never looks.
    block_on(held.release()).unwrap();
    drop(first);
    let Poll::Ready(held) = second.as_mut().poll(&mut cx) else { panic!("the second one waits") };
    block_on(held.unwrap().release()).unwrap();
    assert_eq!(store.waiting("lock:queue"), 0);
}

#[test]
fn who_asks_again_from_within_the_queue_is_granted_once() {
    let store = LocMem::for_this_process_only();
    let (lock, ttl) = (aio::Lock::new(&store, "queue").permit(3), Duration::from_millis(50));
    let holder = lock.clone().ttl(ttl).release_on_drop(false);
    (0..3).for_each(|_| drop(block_on(holder.try_acquire()).unwrap()));
    let mut cx = Context::from_waker(Waker::noop());
    let (mut first, mut second) = (Box::pin(lock.acquire()), Box::pin(lock.acquire()));
    assert!(first.as_mut().poll(&mut cx).is_pending() && second.as_mut().poll(&mut cx).is_pending());
    assert_eq!(store.waiting("lock:queue"), 2);
    // All three leases are over, and the second in the queue is the first to ask.
    thread::sleep(ttl);
    let mut got = None;
    wait_until(|| match second.as_mut().poll(&mut cx) {
        Poll::Ready(held) => got.insert(held.unwrap()).status() == Status::Held,
        Poll::Pending => false,
    });
    assert_eq!(Inspect::list(&store, "queue").unwrap().len(), 2, "it has two of the permits");
    drop(block_on(lock.try_acquire()).expect("the third permit is free"));
    let Poll::Ready(held) = first.as_mut().poll(&mut cx) else { panic!("the first one waits") };
    drop((held, got));
    assert!(Inspect::list(&store, "queue").unwrap().is_empty());
}

/// The same store, which panics once it has queued a claim; before that, another one lets go of the lock
/// if there is one to do so.
#[derive(Clone)]
struct Panicky {
    store: LocMem,
    other: Arc<Mutex<Option<Lock<LocMem, Held>>>>,
}

impl Backend for Panicky {
    type Grant = ();
    type Handle = Self;

    fn handle(&self) -> Self {
        self.clone()
    }

    fn site(&self) -> &Site {
        Backend::site(&self.store)
    }

    fn try_acquire(&self, claim: &Claim) -> Result<Attempt<()>> {
        Backend::try_acquire(&self.store, claim)
    }

    fn renew(&self, due: Renewal<'_, ()>) -> Result<()> {
        Backend::renew(&self.store, due)
    }

    fn release(&self, end: Release<'_, ()>) -> Result<()> {
        Backend::release(&self.store, end)
    }

    fn abandon(&self, claim: &Claim) {
        Backend::abandon(&self.store, claim);
    }

    #[expect(clippy::panic, reason = "what it is made for")]
    fn watch(&self, claim: &Claim) -> Result<Watch> {
        let _promise = Backend::watch(&self.store, claim)?;
        drop(self.other.lock().expect("nobody panics while it is locked").take());
        panic!("a store that panics");
    }
}

#[test]
fn a_waiter_whose_store_panics_leaves_the_queue_and_passes_on_what_it_was_given() {
    let store = LocMem::for_this_process_only();
    let held = Lock::new(&store, "queue").acquire().unwrap();
    let panicky = Panicky { store: store.clone(), other: Arc::default() };
    let lock = Lock::new(&panicky, "queue");
    assert!(catch_unwind(|| lock.acquire().map(drop)).is_err());
    assert_eq!(store.waiting("lock:queue"), 0);
    *panicky.other.lock().unwrap() = Some(held);
    assert!(catch_unwind(|| lock.acquire().map(drop)).is_err());
    Lock::new(&store, "queue").try_acquire().unwrap().release().unwrap();
}

#[test]
fn a_waiter_that_gives_up_leaves_the_queue() {
    let store = LocMem::for_this_process_only();
    let held = Lock::new(&store, "queue").acquire().unwrap();
    let error = Lock::new(&store, "queue").acquire_for(Duration::from_millis(20)).unwrap_err();
    assert!(error.is_timed_out());
    assert!(error.to_string().contains("this very process holds it since"), "{error}");
    assert_eq!(store.waiting("lock:queue"), 0);
    held.release().unwrap();
    Lock::new(&store, "queue").try_acquire().unwrap().release().unwrap();
}

#[test]
fn a_shortened_lease_wakes_its_waiter_in_time() {
    let store = LocMem::for_this_process_only();
    let held = Lock::new(&store, "queue").ttl(SOON * 6).acquire().unwrap();
    thread::scope(|scope| {
        let waiter = scope.spawn(|| Lock::new(&store, "queue").acquire_for(SOON * 3).map(drop));
        wait_until(|| store.waiting("lock:queue") == 1);
        let shortened = Instant::now();
        held.renew_for(Duration::from_millis(50)).unwrap();
        waiter.join().unwrap().unwrap();
        assert!(shortened.elapsed() >= Duration::from_millis(50) && shortened.elapsed() < SOON);
    });
    assert!(held.release().is_err_and(|error| error.is_lost()));
}

#[test]
fn idle_entries_are_forgotten_and_fences_still_grow() {
    let store = LocMem::for_this_process_only();
    let mut last = None;
    for round in 0..100_000 {
        let held = Lock::new(&store, format!("name {round}")).try_acquire().unwrap();
        assert!(last < Some(held.fence()));
        last = Some(held.fence());
    }
    assert!(store.entries() < 64 * 1024, "{} entries", store.entries());
}

#[test]
fn two_settings_of_one_store_share_its_keys() {
    let store = LocMem::for_this_process_only();
    let bare = store.share_with_settings(store.site().settings().clone().with_prefix("").unwrap());
    let held = Lock::new(&store, "x").try_acquire().unwrap();
    assert!(Lock::new(&bare, "lock:x").try_acquire().is_err_and(|error| error.is_contended()));
    assert!(bare.inspect(&Name::new("lock:x").unwrap()).unwrap().is_some());
    held.release().unwrap();
    Lock::new(&bare, "lock:x").try_acquire().unwrap().release().unwrap();
}

fn wait_until(mut condition: impl FnMut() -> bool) {
    let until = Instant::now() + SOON;
    while !condition() {
        assert!(Instant::now() < until, "not in time");
        thread::sleep(Duration::from_millis(1));
    }
}
