//! A store that panics in the middle of a call.

#[allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "shared by test files that each use a part"
)]
mod support;

use std::panic::catch_unwind;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::thread;
use std::time::Duration;

use support::{Fake, settings, wait_until};
use tenure_core::{Attempt, Backend, Claim, Lock, Release, Renewal, Result, Site, Watch};

const LONG: Duration = Duration::from_secs(600);
const SOON: Duration = Duration::from_secs(20);

/// Panics instead of telling of its first grants.
#[derive(Clone)]
struct Panicky {
    fake: Fake,
    left: Arc<AtomicUsize>,
}

impl Panicky {
    fn new(times: usize) -> Self {
        Self { fake: Fake::new(true, settings(LONG)), left: Arc::new(AtomicUsize::new(times)) }
    }
}

impl Backend for Panicky {
    type Grant = ();
    type Handle = Self;

    fn handle(&self) -> Self {
        self.clone()
    }

    fn site(&self) -> &Site {
        self.fake.site()
    }

    fn try_acquire(&self, claim: &Claim) -> Result<Attempt<()>> {
        let answer = self.fake.try_acquire(claim);
        let granted = matches!(answer, Ok(Attempt::Granted(_)));
        let panics = granted && self.left.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok();
        assert!(!panics, "a store that panics");
        answer
    }

    fn renew(&self, due: Renewal<'_, ()>) -> Result<()> {
        self.fake.renew(due)
    }

    fn release(&self, end: Release<'_, ()>) -> Result<()> {
        self.fake.release(end)
    }

    fn abandon(&self, claim: &Claim) {
        self.fake.abandon(claim);
    }

    fn watch(&self, claim: &Claim) -> Result<Watch> {
        self.fake.watch(claim)
    }
}

#[test]
fn what_a_store_granted_before_it_panicked_is_taken_back() {
    let store = Panicky::new(2);
    let lock = Lock::new(&store, "a");
    assert!(catch_unwind(|| lock.try_acquire().map(drop)).is_err());
    wait_until("taken back", || !store.fake.is_held("lock:a"));
    assert!(catch_unwind(|| lock.acquire().map(drop)).is_err());
    wait_until("taken back", || !store.fake.is_held("lock:a"));
    assert_eq!(store.fake.calls().abandon.load(SeqCst), 2);
    lock.try_acquire().unwrap().release().unwrap();
}

#[test]
fn what_a_store_granted_a_waiter_before_it_panicked_is_taken_back() {
    let store = Panicky::new(0);
    let lock = Lock::new(&store, "a");
    let held = lock.try_acquire().unwrap();
    store.left.store(1, SeqCst);
    let waiter = thread::spawn({
        let lock = lock.clone();
        move || drop(lock.acquire())
    });
    wait_until("it stands in line", || store.site().waiting("lock:a") == 1);
    held.release().unwrap();
    assert!(waiter.join().is_err());
    wait_until("taken back", || !store.fake.is_held("lock:a"));
    assert_eq!(store.fake.calls().abandon.load(SeqCst), 1);
}

#[test]
fn a_waiter_whose_store_panicked_leaves_the_lock_to_those_behind_it() {
    let store = Panicky::new(0);
    let lock = Lock::new(&store, "a");
    let held = lock.try_acquire().unwrap();
    store.left.store(1, SeqCst);
    let waiters: Vec<_> = (1..=2)
        .map(|place| {
            let lock = lock.clone();
            let waiter = thread::spawn(move || lock.acquire_for(SOON).unwrap().release().unwrap());
            wait_until("it stands in line", || store.site().waiting("lock:a") == place);
            waiter
        })
        .collect();
    held.release().unwrap();
    let panicked = waiters.into_iter().map(|waiter| waiter.join().is_err()).collect::<Vec<_>>();
    assert_eq!(panicked, [true, false]);
    assert_eq!(store.site().waiting("lock:a"), 0);
    wait_until("nothing is left", || !store.fake.is_held("lock:a"));
}
