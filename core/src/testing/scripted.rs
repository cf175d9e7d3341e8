//! A store for tests that does as it is told.

use std::fmt;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::script::{Calls, On, Rule, Verb};
use super::{Clock, ledger::Ledger};
use crate::sync::{Mutex, MutexGuard};
use crate::{Cause, Fence, Moment, Settings, Site};

/// A store for tests that does as it is told, in the time of a [`Clock`].
///
/// Left alone it is a store like any other, for one process. A script says what goes wrong and when:
/// [`on_acquire`](Self::on_acquire), [`on_renewal`](Self::on_renewal),
/// [`on_release`](Self::on_release). Other holders are played by [`taken`](Self::taken).
///
/// The clock [jumps](Clock::jumping) when a thread has to wait, so that no test with one thread waits:
///
/// ```
/// use std::time::Duration;
/// use tenure_core::Lock;
/// use tenure_core::testing::Scripted;
///
/// let store = Scripted::new();
/// store.taken_for("report", Duration::from_secs(90));
/// let error = Lock::new(&store, "report").acquire_for(Duration::from_secs(60)).unwrap_err();
/// assert!(error.is_timed_out());
/// Lock::new(&store, "report").acquire_for(Duration::from_secs(60))?.release()?;
/// # Ok::<(), tenure_core::Error>(())
/// ```
///
/// A test with several threads uses [`Scripted::on`] with a [`Clock::new`] that it moves itself, or a
/// store in local memory.
#[derive(Clone)]
pub struct Scripted(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) site: Site,
    clock: Clock,
    ledger: Mutex<Ledger>,
}

/// What happened to a name, as the store saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// An attempt was granted, under this fence.
    Granted(Fence),
    /// An attempt was denied.
    Denied,
    /// A renewal was carried out.
    Renewed,
    /// A renewal or a release found the lock gone.
    Lost(Cause),
    /// A release was carried out.
    Released,
}

impl Scripted {
    /// A store on a clock of its own, which jumps when a thread waits.
    #[must_use]
    pub fn new() -> Self {
        Self::on(&Clock::jumping())
    }

    /// A store on a clock that the test has, for several stores in one time or one that is moved by
    /// hand.
    #[must_use]
    pub fn on(clock: &Clock) -> Self {
        Self::with_settings(Settings::default(), clock)
    }

    /// A store with settings of its own.
    #[must_use]
    pub fn with_settings(settings: Settings, clock: &Clock) -> Self {
        let site = Site::on_clock("test:", settings, clock);
        Self(Arc::new(Inner { site, clock: clock.clone(), ledger: Mutex::default() }))
    }

    /// The clock that it lives by.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.0.clock
    }

    /// Says what happens at some attempts to get a lock; waiting counts each look.
    pub fn on_acquire(&self, name: &str, calls: impl Into<Calls>) -> On<'_> {
        self.on_call(name, Verb::Acquire, calls.into())
    }

    /// Says what happens at some renewals, of the engine and of the holder alike. They are counted per
    /// name, from one lock of that name to the next.
    pub fn on_renewal(&self, name: &str, calls: impl Into<Calls>) -> On<'_> {
        self.on_call(name, Verb::Renew, calls.into())
    }

    /// Says what happens at some releases.
    pub fn on_release(&self, name: &str, calls: impl Into<Calls>) -> On<'_> {
        self.on_call(name, Verb::Release, calls.into())
    }

    fn on_call(&self, name: &str, verb: Verb, calls: Calls) -> On<'_> {
        On { store: self, name: name.into(), verb, calls }
    }

    pub(super) fn add_rule(&self, rule: Rule) {
        self.ledger().add(rule);
    }

    /// Makes the store unreachable, or reachable again: nothing is answered meanwhile.
    pub fn set_down(&self, down: bool) {
        self.ledger().down = down;
        if !down {
            self.0.site.notify_all();
        }
    }

    /// Lets somebody else hold a name, until the value is dropped. Whoever held it has lost it.
    pub fn taken(&self, name: &str) -> Taken {
        self.give_away(name, Moment::FAR);
        Taken { store: self.clone(), name: name.into() }
    }

    /// Lets somebody else hold a name for this long. Whoever held it has lost it.
    pub fn taken_for(&self, name: &str, time: Duration) {
        self.give_away(name, self.clock().now() + time);
    }

    fn give_away(&self, name: &str, until: Moment) {
        self.ledger().entry(&self.key(name)).give_away(until);
    }

    /// Whether anybody holds a name.
    #[must_use]
    pub fn is_held(&self, name: &str) -> bool {
        let now = self.clock().now();
        self.ledger().entry(&self.key(name)).held(now).is_some()
    }

    /// What happened to a name so far.
    #[must_use]
    pub fn events(&self, name: &str) -> Vec<Event> {
        self.ledger().entry(&self.key(name)).events.clone()
    }

    pub(super) fn key(&self, name: &str) -> String {
        [self.0.site.settings().prefix(), name].concat()
    }

    pub(super) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.0.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Scripted {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Scripted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scripted").field("clock", &self.0.clock).finish_non_exhaustive()
    }
}

/// Somebody else's lock, which ends when this is dropped.
#[must_use = "the lock is somebody else's only as long as this is kept"]
#[derive(Debug)]
pub struct Taken {
    store: Scripted,
    name: Box<str>,
}

impl Drop for Taken {
    fn drop(&mut self) {
        let key = self.store.key(&self.name);
        let mut ledger = self.store.ledger();
        let entry = ledger.entry(&key);
        if entry.holder.as_ref().is_some_and(|holder| holder.owner.is_none()) {
            entry.holder = None;
        }
        drop(ledger);
        self.store.0.site.notify(&key);
    }
}
