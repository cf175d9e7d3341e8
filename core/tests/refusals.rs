//! What a lock refuses without asking its store, and what it never tells. No store can get these wrong,
//! so no store is needed to test them.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tenure_core::aio::{self, AsyncBackend, Task, block_on};
use tenure_core::{
    Attempt, Backend, Claim, Error, Fence, Granted, Lease, Lock, Name, Permits, Release, Renewal, Result,
    SessionLocks, Settings, Site,
};

/// Grants everything, and counts.
#[derive(Clone)]
struct Generous(Arc<(Site, AtomicUsize)>);

impl Generous {
    fn new() -> Self {
        Self(Arc::new((Site::new("generous:", Settings::default()), AtomicUsize::new(0))))
    }

    fn asked(&self) -> usize {
        self.0.1.load(Ordering::SeqCst)
    }
}

impl Backend for Generous {
    type Grant = ();
    type Handle = Self;

    fn handle(&self) -> Self {
        self.clone()
    }

    fn site(&self) -> &Site {
        &self.0.0
    }

    fn try_acquire(&self, claim: &Claim) -> Result<Attempt<()>> {
        let asked = self.0.1.fetch_add(1, Ordering::SeqCst);
        let lease = claim.term().ttl().map_or(Lease::Session, |ttl| Lease::For(ttl.get()));
        Ok(Attempt::Granted(Granted::new((), Fence::new(asked as u64 + 1), lease)))
    }

    fn renew(&self, _: Renewal<'_, ()>) -> Result<()> {
        Ok(())
    }

    fn release(&self, _: Release<'_, ()>) -> Result<()> {
        Ok(())
    }
}

impl SessionLocks for Generous {}

impl Permits for Generous {}

impl AsyncBackend for Generous {
    type Grant = ();
    type Handle = Self;

    fn handle(&self) -> Self {
        self.clone()
    }

    fn site(&self) -> &Site {
        &self.0.0
    }

    async fn try_acquire(&self, claim: &Claim) -> Result<Attempt<()>> {
        Backend::try_acquire(self, claim)
    }

    async fn renew(&self, _: Renewal<'_, ()>) -> Result<()> {
        Ok(())
    }

    async fn release(&self, _: Release<'_, ()>) -> Result<()> {
        Ok(())
    }

    fn spawn(&self, task: Task) {
        block_on(task);
    }
}

#[test]
fn a_name_that_no_lock_can_have_is_refused_before_the_store_is_asked() {
    let store = Generous::new();
    let long = "n".repeat(Name::MAX_LEN + 1);
    for name in ["", long.as_str()] {
        let lock = Lock::new(&store, name);
        for refused in [lock.try_acquire(), lock.acquire(), lock.acquire_for(Duration::from_secs(1))] {
            assert!(refused.is_err_and(|error| error.is_invalid_name()), "{} bytes", name.len());
        }
        let lock = aio::Lock::new(&store, name);
        for refused in [block_on(lock.try_acquire()), block_on(lock.acquire())] {
            assert!(refused.is_err_and(|error| error.is_invalid_name()), "{} bytes", name.len());
        }
    }
    assert_eq!(store.asked(), 0);
}

#[test]
fn a_session_takes_no_lifetime() {
    let store = Generous::new();
    let both = Lock::new(&store, "a").session().ttl(Duration::from_secs(1));
    assert!(both.try_acquire().is_err_and(|error| error.is_misconfigured()));
    let both = aio::Lock::new(&store, "a").session().ttl(Duration::from_secs(1));
    assert!(block_on(both.try_acquire()).is_err_and(|error| error.is_misconfigured()));
    assert_eq!(store.asked(), 0);
    let held = Lock::new(&store, "a").session().try_acquire().unwrap();
    assert!(held.renew_for(Duration::from_secs(1)).is_err_and(|error: Error| error.is_misconfigured()));
    held.release().unwrap();
    let held = block_on(aio::Lock::new(&store, "a").session().try_acquire()).unwrap();
    assert!(block_on(held.renew_for(Duration::from_secs(1))).is_err_and(|error| error.is_misconfigured()));
    block_on(held.release()).unwrap();
}

#[test]
fn no_permits_at_all_are_refused_before_the_store_is_asked() {
    let store = Generous::new();
    let says_what_to_do = |error: Error| error.is_misconfigured() && error.to_string().contains("at least 1");
    let lock = Lock::new(&store, "a").permit(0);
    for refused in [lock.try_acquire(), lock.acquire(), lock.acquire_for(Duration::from_secs(1))] {
        assert!(refused.is_err_and(says_what_to_do));
    }
    let lock = aio::Lock::new(&store, "a").permit(0);
    for refused in [block_on(lock.try_acquire()), block_on(lock.acquire())] {
        assert!(refused.is_err_and(says_what_to_do));
    }
    assert_eq!(store.asked(), 0);
    Lock::new(&store, "a").permit(1).try_acquire().unwrap().release().unwrap();
}

#[test]
fn a_release_is_no_loss() {
    let store = Generous::new();
    let ttl = Duration::from_millis(100);
    let told = Arc::new(AtomicUsize::new(0));
    let take = |ends: bool| {
        let held = Lock::new(&store, "a").ttl(ttl).try_acquire().unwrap();
        let told = told.clone();
        held.on_lost(move |_| {
            told.fetch_add(1, Ordering::SeqCst);
        });
        match ends {
            true => held.release().unwrap(),
            false => drop(held),
        }
    };
    take(true);
    take(false);
    let count = told.clone();
    let held = block_on(aio::Lock::new(&store, "a").ttl(ttl).try_acquire()).unwrap();
    held.on_lost(move |_| {
        count.fetch_add(1, Ordering::SeqCst);
    });
    block_on(held.release()).unwrap();
    // A lock that is left to its end shows that losses are told by then.
    let lost = Lock::new(&store, "b").ttl(ttl).try_acquire().unwrap();
    lost.lost();
    assert_eq!(told.load(Ordering::SeqCst), 0);
}
