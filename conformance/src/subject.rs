//! The store of a suite and its locks, as cases speak to them: in the words of
//! [`Lock`](tenure_core::Lock), without knowing whether acquiring blocks or is awaited.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tenure_core::{Fence, Inspect, Moment, Name, Owner, Result};

use crate::driver::{Acquiring, Awaited, Store, TestHeld};

/// An opened store.
#[derive(Clone, Debug)]
pub(crate) struct Subject {
    store: Store,
}

impl Subject {
    pub(crate) fn new(store: Store) -> Self {
        Self { store }
    }

    pub(crate) fn lock(&self, name: impl Into<String>) -> TestLock {
        self.lock_with(name, Options::default())
    }

    pub(crate) fn lock_with(&self, name: impl Into<String>, options: Options) -> TestLock {
        TestLock { store: self.store.clone(), name: name.into(), options, made: OnceLock::new() }
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// For cases that [need](crate::Need) a store that is awaited.
    pub(crate) fn awaited(&self) -> &Awaited {
        match &self.store {
            Store::Polled(awaited) => awaited,
            Store::Blocking(_) => unreachable!("a case that awaits says that it needs it"),
        }
    }

    /// For cases that [need](crate::Need) it.
    pub(crate) fn inspect(&self) -> Box<dyn Inspect + '_> {
        self.store.inspect().expect("a case that inspects says that it needs it")
    }

    /// Asks twice with one claim, whose grants are then abandoned as if no answer had come. The
    /// fences of both answers, `None` for a denial, and what a second claim was answered after that.
    pub(crate) fn ask_twice(
        &self,
        name: &str,
        ttl: Duration,
    ) -> Result<([Option<Fence>; 2], Result<TestHeld>)> {
        self.store.ask_twice(name, ttl, || self.lock(name).try_acquire())
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
}

/// A lock that is not held, with the options of [`Lock`](tenure_core::Lock).
pub(crate) struct TestLock {
    store: Store,
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
    pub(crate) fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        let (mut work, mut value) = (Some(work), None);
        self.made().run(&mut || value = work.take().map(|work| work()))?;
        Ok(value.expect("what was run has a value"))
    }

    /// For cases that [need](crate::Need) it.
    pub(crate) fn restore(&self, owner: Owner) -> Result<TestHeld> {
        self.store.restore(&self.name, &self.options, owner)
    }

    pub(crate) fn name(&self) -> Name {
        Name::new(self.name.as_str()).expect("cases that inspect use names that are names")
    }

    fn set(mut self, change: impl FnOnce(&mut Options)) -> Self {
        change(&mut self.options);
        Self { made: OnceLock::new(), ..self }
    }

    fn made(&self) -> &dyn Acquiring {
        self.made.get_or_init(|| self.store.lock(&self.name, &self.options)).as_ref()
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
