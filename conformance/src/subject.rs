//! The words in which cases speak to a store, whatever kind of store it is.

use std::time::Duration;

use tenure_core::{
    AnyBackend, AnyGrant, AnyRestore, AnySessions, Backend, Cause, Claim, Fence, Held, Inspect, Lock, Moment,
    Owner, Result, Status,
};

/// A store under test.
#[derive(Clone, Debug)]
pub struct Subject(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Threads(AnyBackend),
}

impl From<AnyBackend> for Subject {
    fn from(store: AnyBackend) -> Self {
        Self(Kind::Threads(store))
    }
}

impl Subject {
    pub(crate) fn lock(&self, name: &str) -> TestLock {
        let Kind::Threads(store) = &self.0;
        TestLock { store: store.clone(), lock: Lock::new(store, name) }
    }

    pub(crate) fn lock_named(&self, name: Result<tenure_core::Name>) -> TestLock {
        let Kind::Threads(store) = &self.0;
        TestLock { store: store.clone(), lock: Lock::new(store, name) }
    }

    pub(crate) fn inspect(&self) -> Option<&dyn Inspect> {
        let Kind::Threads(store) = &self.0;
        store.inspect()
    }

    pub(crate) fn can_restore(&self) -> bool {
        let Kind::Threads(store) = &self.0;
        store.restorable().is_some()
    }

    pub(crate) fn has_sessions(&self) -> bool {
        let Kind::Threads(store) = &self.0;
        store.sessions().is_some()
    }

    /// Asks twice with one claim; the fences of both answers, `None` for a refusal.
    pub(crate) fn ask_twice(&self, name: &str) -> Result<[Option<Fence>; 2]> {
        let Kind::Threads(store) = &self.0;
        let claim: Claim = Lock::new(store, name).ttl(Duration::from_secs(30)).claim_as(Owner::random())?;
        let first = store.try_acquire(&claim)?;
        let second = store.try_acquire(&claim)?;
        let fence = |attempt: &tenure_core::Attempt<AnyGrant>| match attempt {
            tenure_core::Attempt::Granted(granted) => Some(granted.fence()),
            tenure_core::Attempt::Denied(_) => None,
        };
        let fences = [fence(&first), fence(&second)];
        store.abandon(&claim);
        Ok(fences)
    }
}

/// A lock of a store under test.
#[derive(Clone, Debug)]
pub struct TestLock {
    store: AnyBackend,
    lock: Lock<AnyBackend>,
}

impl TestLock {
    fn map(self, change: impl FnOnce(Lock<AnyBackend>) -> Lock<AnyBackend>) -> Self {
        Self { lock: change(self.lock), store: self.store }
    }

    pub(crate) fn ttl(self, ttl: Duration) -> Self {
        self.map(|lock| lock.ttl(ttl))
    }

    pub(crate) fn release_on_drop(self, release: bool) -> Self {
        self.map(|lock| lock.release_on_drop(release))
    }

    pub(crate) fn hold_at_least(self, least: Duration) -> Self {
        self.map(|lock| lock.hold_at_least(least))
    }

    pub(crate) fn label(self, label: &str) -> Self {
        self.map(|lock| lock.label(label))
    }

    #[track_caller]
    pub(crate) fn try_acquire(&self) -> Result<TestHeld> {
        self.lock.try_acquire().map(TestHeld::Plain)
    }

    #[track_caller]
    pub(crate) fn acquire(&self) -> Result<TestHeld> {
        self.lock.acquire().map(TestHeld::Plain)
    }

    #[track_caller]
    pub(crate) fn acquire_for(&self, limit: Duration) -> Result<TestHeld> {
        self.lock.acquire_for(limit).map(TestHeld::Plain)
    }

    #[track_caller]
    pub(crate) fn run<T>(&self, work: impl FnOnce() -> T) -> Result<T> {
        self.lock.run(|_| work())?.kept()
    }

    /// Takes up a lock by its token; only where the store can.
    #[track_caller]
    pub(crate) fn restore(&self, owner: Owner) -> Result<TestHeld> {
        let store = self.store.restorable().expect("the case says that it needs `Restore`");
        Lock::new(store, self.lock.name()).restore(owner).map(TestHeld::Restored)
    }

    /// Holds it without a lease; only where the store can.
    #[track_caller]
    pub(crate) fn session(&self) -> Result<TestHeld> {
        let store = self.store.sessions().expect("the case says that it needs `SessionLocks`");
        Lock::new(store, self.lock.name()).session().try_acquire().map(TestHeld::Session)
    }
}

/// A held lock of a store under test.
#[derive(Debug)]
pub enum TestHeld {
    /// Acquired.
    Plain(Lock<AnyBackend, Held>),
    /// Taken up by its token.
    Restored(Lock<AnyRestore, Held>),
    /// Held without a lease.
    Session(Lock<AnySessions, Held>),
}

macro_rules! forward {
    ($($(#[$attribute:meta])* fn $method:ident(&self $(, $argument:ident: $type:ty)*) -> $result:ty;)*) => {
        impl TestHeld {
            $($(#[$attribute])* pub(crate) fn $method(&self $(, $argument: $type)*) -> $result {
                match self {
                    Self::Plain(held) => held.$method($($argument),*),
                    Self::Restored(held) => held.$method($($argument),*),
                    Self::Session(held) => held.$method($($argument),*),
                }
            })*
        }
    };
}

forward! {
    fn fence(&self) -> Fence;
    fn owner(&self) -> Owner;
    fn deadline(&self) -> Option<Moment>;
    fn remaining(&self) -> Option<Duration>;
    fn status(&self) -> Status;
    fn renew(&self) -> Result<()>;
    fn renew_for(&self, ttl: Duration) -> Result<()>;
    fn keep_alive(&self) -> ();
    fn lost(&self) -> Cause;
}

impl TestHeld {
    pub(crate) fn on_lost(&self, callback: impl FnOnce(Cause) + Send + 'static) {
        match self {
            Self::Plain(held) => held.on_lost(callback),
            Self::Restored(held) => held.on_lost(callback),
            Self::Session(held) => held.on_lost(callback),
        }
    }

    pub(crate) fn release(self) -> Result<()> {
        match self {
            Self::Plain(held) => held.release(),
            Self::Restored(held) => held.release(),
            Self::Session(held) => held.release(),
        }
    }
}
