//! The driver between cases and locks.
//!
//! Cases speak to [`TestLock`] and [`TestHeld`] in the words of [`Lock`], and do not know whose they
//! are. Locks of another kind join the same list of cases by implementing [`Acquiring`] and
//! [`Holding`]: an async one by blocking on its futures there.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tenure_core::{
    AnyBackend, Attempt, Backend, Cause, Fence, Handle, Held, Inspect, Lock, Moment, Name, Owner, Result,
    Status,
};

/// An opened store.
#[derive(Clone, Debug)]
pub(crate) struct Subject {
    store: AnyBackend,
}

impl Subject {
    pub(crate) fn new(store: AnyBackend) -> Self {
        Self { store }
    }

    pub(crate) fn lock(&self, name: impl Into<String>) -> TestLock {
        self.lock_with(name, Options::default())
    }

    pub(crate) fn lock_with(&self, name: impl Into<String>, options: Options) -> TestLock {
        TestLock { store: self.store.clone(), name: name.into(), options, made: OnceLock::new() }
    }

    pub(crate) fn store(&self) -> &AnyBackend {
        &self.store
    }

    /// For cases that [need](crate::Need) it.
    pub(crate) fn inspect(&self) -> &dyn Inspect {
        self.store.inspect().expect("a case that inspects says that it needs it")
    }

    /// Asks twice with one claim, whose grants are then abandoned as if no answer had come. The
    /// fences of both answers, `None` for a denial, and what a second claim was answered after that.
    pub(crate) fn ask_twice(
        &self,
        name: &str,
        ttl: Duration,
    ) -> Result<([Option<Fence>; 2], Result<TestHeld>)> {
        let claim = Lock::new(&self.store, name).ttl(ttl).claim_as(Owner::random())?;
        // Both are kept to the end: a grant that is dropped has had an unclean end.
        let answers = [self.store.try_acquire(&claim)?, self.store.try_acquire(&claim)?];
        let fences = answers.each_ref().map(|answer| match answer {
            Attempt::Granted(granted) => Some(granted.fence()),
            Attempt::Denied(_) => None,
        });
        self.store.abandon(&claim);
        Ok((fences, self.lock(name).try_acquire()))
    }

    pub(crate) fn prefix(&self) -> &str {
        self.store.site().settings().prefix()
    }
}

/// The options of a lock, as they also travel to agents.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Options {
    pub(crate) ttl: Option<Duration>,
    pub(crate) keep_alive: bool,
    pub(crate) session: bool,
    pub(crate) sleep: Option<Duration>,
    pub(crate) release_on_drop: Option<bool>,
    pub(crate) hold_at_least: Option<Duration>,
    pub(crate) label: Option<String>,
}

impl Options {
    pub(crate) fn ttl(ttl: Duration) -> Self {
        Self { ttl: Some(ttl), ..Self::default() }
    }

    fn apply<B: Handle>(&self, mut lock: Lock<B>) -> Lock<B> {
        if let Some(ttl) = self.ttl {
            lock = lock.ttl(ttl);
        }
        if self.keep_alive {
            lock = lock.keep_alive();
        }
        if let Some(sleep) = self.sleep {
            lock = lock.sleep(sleep);
        }
        if let Some(release) = self.release_on_drop {
            lock = lock.release_on_drop(release);
        }
        if let Some(least) = self.hold_at_least {
            lock = lock.hold_at_least(least);
        }
        match &self.label {
            Some(label) => lock.label(label.as_str()),
            None => lock,
        }
    }
}

/// A lock that is not held, with the options of [`Lock`].
pub(crate) struct TestLock {
    store: AnyBackend,
    name: String,
    options: Options,
    made: OnceLock<Arc<dyn Acquiring>>,
}

impl TestLock {
    pub(crate) fn ttl(self, ttl: Duration) -> Self {
        self.set(|options| options.ttl = Some(ttl))
    }

    pub(crate) fn keep_alive(self) -> Self {
        self.set(|options| options.keep_alive = true)
    }

    pub(crate) fn session(self) -> Self {
        self.set(|options| options.session = true)
    }

    pub(crate) fn release_on_drop(self, release: bool) -> Self {
        self.set(|options| options.release_on_drop = Some(release))
    }

    pub(crate) fn hold_at_least(self, least: Duration) -> Self {
        self.set(|options| options.hold_at_least = Some(least))
    }

    pub(crate) fn label(self, label: &str) -> Self {
        self.set(|options| options.label = Some(label.into()))
    }

    pub(crate) fn try_acquire(&self) -> Result<TestHeld> {
        self.made().try_acquire()
    }

    pub(crate) fn acquire(&self) -> Result<TestHeld> {
        self.made().acquire()
    }

    pub(crate) fn acquire_for(&self, limit: Duration) -> Result<TestHeld> {
        self.made().acquire_for(limit)
    }

    pub(crate) fn acquire_until(&self, deadline: Moment) -> Result<TestHeld> {
        self.made().acquire_until(deadline)
    }

    /// Runs work under the lock; its value, if the lock was held to the end.
    pub(crate) fn run<T>(&self, work: impl FnOnce() -> T) -> Result<T> {
        let (mut work, mut value) = (Some(work), None);
        self.made().run(&mut || value = work.take().map(|work| work()))?;
        Ok(value.expect("what was run has a value"))
    }

    /// For cases that [need](crate::Need) it.
    pub(crate) fn restore(&self, owner: Owner) -> Result<TestHeld> {
        let store = self.store.restorable().expect("a case that restores says that it needs it");
        let held = self.options.apply(Lock::new(store, self.name.as_str())).restore(owner)?;
        Ok(Box::new(held))
    }

    pub(crate) fn name(&self) -> Name {
        Name::new(self.name.as_str()).expect("cases that inspect use names that are names")
    }

    fn set(mut self, change: impl FnOnce(&mut Options)) -> Self {
        change(&mut self.options);
        Self { made: OnceLock::new(), ..self }
    }

    fn made(&self) -> &dyn Acquiring {
        self.made
            .get_or_init(|| match self.options.session {
                false => Arc::new(self.options.apply(Lock::new(&self.store, self.name.as_str()))),
                true => {
                    let store = self.store.sessions().expect("a case with sessions says that it needs them");
                    Arc::new(self.options.apply(Lock::new(store, self.name.as_str()).session()))
                }
            })
            .as_ref()
    }
}

impl Clone for TestLock {
    /// Clones share what was resolved for the name, as clones of a `Lock` do.
    fn clone(&self) -> Self {
        self.made();
        Self {
            store: self.store.clone(),
            name: self.name.clone(),
            options: self.options.clone(),
            made: self.made.clone(),
        }
    }
}

impl fmt::Debug for TestLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestLock").field("name", &self.name).field("options", &self.options).finish()
    }
}

/// A lock that is held; dropping it releases it.
pub(crate) type TestHeld = Box<dyn Holding>;

/// What cases ask of a lock that is not held.
pub(crate) trait Acquiring: Send + Sync {
    fn try_acquire(&self) -> Result<TestHeld>;
    fn acquire(&self) -> Result<TestHeld>;
    fn acquire_for(&self, limit: Duration) -> Result<TestHeld>;
    fn acquire_until(&self, deadline: Moment) -> Result<TestHeld>;
    fn run(&self, work: &mut dyn FnMut()) -> Result<()>;
}

/// What cases ask of a lock that is held.
pub(crate) trait Holding: Send + Sync + fmt::Debug {
    fn fence(&self) -> Fence;
    fn owner(&self) -> Owner;
    fn deadline(&self) -> Option<Moment>;
    fn remaining(&self) -> Option<Duration>;
    fn status(&self) -> Status;
    fn is_held(&self) -> bool;
    fn lost(&self) -> Cause;
    fn on_lost(&self, callback: Box<dyn FnOnce(Cause) + Send>);
    fn renew(&self) -> Result<()>;
    fn renew_for(&self, ttl: Duration) -> Result<()>;
    fn keep_alive(&self);
    fn release(self: Box<Self>) -> Result<()>;
}

impl<B: Handle> Acquiring for Lock<B> {
    fn try_acquire(&self) -> Result<TestHeld> {
        Ok(Box::new(self.try_acquire()?))
    }

    fn acquire(&self) -> Result<TestHeld> {
        Ok(Box::new(self.acquire()?))
    }

    fn acquire_for(&self, limit: Duration) -> Result<TestHeld> {
        Ok(Box::new(self.acquire_for(limit)?))
    }

    fn acquire_until(&self, deadline: Moment) -> Result<TestHeld> {
        Ok(Box::new(self.acquire_until(deadline)?))
    }

    fn run(&self, work: &mut dyn FnMut()) -> Result<()> {
        self.run(|_| work())?.kept()
    }
}

impl<B: Handle> Holding for Lock<B, Held> {
    fn fence(&self) -> Fence {
        self.fence()
    }

    fn owner(&self) -> Owner {
        self.owner()
    }

    fn deadline(&self) -> Option<Moment> {
        self.deadline()
    }

    fn remaining(&self) -> Option<Duration> {
        self.remaining()
    }

    fn status(&self) -> Status {
        self.status()
    }

    fn is_held(&self) -> bool {
        self.is_held()
    }

    fn lost(&self) -> Cause {
        self.lost()
    }

    fn on_lost(&self, callback: Box<dyn FnOnce(Cause) + Send>) {
        self.on_lost(callback);
    }

    fn renew(&self) -> Result<()> {
        self.renew()
    }

    fn renew_for(&self, ttl: Duration) -> Result<()> {
        self.renew_for(ttl)
    }

    fn keep_alive(&self) {
        self.keep_alive();
    }

    fn release(self: Box<Self>) -> Result<()> {
        (*self).release()
    }
}
