//! The driver between cases and locks: one list of cases for stores that block and for stores that
//! are awaited.

mod blocking;
mod polled;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tenure_core::{
    AnyBackend, Backend, Cause, Error, Fence, Inspect, Moment, Owner, Result, Site, Status, aio, release_all,
};

pub(crate) use polled::Awaited;
use polled::BlockOn;
pub(crate) use polled::{Executor, here};

use crate::subject::Options;

/// An opened store, of either kind.
#[derive(Clone)]
pub(crate) enum Store {
    Blocking(AnyBackend),
    Polled(Awaited),
}

impl Store {
    pub(crate) fn polled(store: aio::AnyBackend, executor: Arc<Executor>) -> Self {
        Self::Polled(Awaited { store, block_on: BlockOn(executor) })
    }

    pub(crate) fn is_polled(&self) -> bool {
        matches!(self, Self::Polled(_))
    }

    /// How long a dropped lock may stay taken.
    pub(crate) fn lets_go_within(&self) -> Duration {
        if self.is_polled() { Duration::from_secs(1) } else { Duration::ZERO }
    }

    pub(crate) fn site(&self) -> &Site {
        match self {
            Self::Blocking(store) => store.site(),
            Self::Polled(store) => aio::AsyncBackend::site(&store.store),
        }
    }

    pub(crate) fn can_restore(&self) -> bool {
        match self {
            Self::Blocking(store) => store.restorable().is_some(),
            Self::Polled(store) => store.store.restorable().is_some(),
        }
    }

    pub(crate) fn has_sessions(&self) -> bool {
        match self {
            Self::Blocking(store) => store.sessions().is_some(),
            Self::Polled(store) => store.store.sessions().is_some(),
        }
    }

    pub(crate) fn has_shared_locks(&self) -> bool {
        match self {
            Self::Blocking(store) => store.shared().is_some(),
            Self::Polled(store) => store.store.shared().is_some(),
        }
    }

    pub(crate) fn has_permits(&self) -> bool {
        match self {
            Self::Blocking(store) => store.permits().is_some(),
            Self::Polled(store) => store.store.permits().is_some(),
        }
    }

    pub(crate) fn inspect(&self) -> Option<Box<dyn Inspect + '_>> {
        match self {
            Self::Blocking(store) => store.inspect().map(|inspect| Box::new(inspect) as _),
            Self::Polled(store) => store.inspect().map(|inspect| Box::new(inspect) as _),
        }
    }

    pub(crate) fn lock(&self, name: &str, options: &Options) -> Arc<dyn Acquiring> {
        match self {
            Self::Blocking(store) => blocking::lock(store, name, options),
            Self::Polled(store) => store.lock(name, options),
        }
    }

    pub(crate) fn restore(&self, name: &str, options: &Options, owner: Owner) -> Result<TestHeld> {
        match self {
            Self::Blocking(store) => blocking::restore(store, name, options, owner),
            Self::Polled(store) => store.restore(name, options, owner),
        }
    }

    /// Asks twice with one claim, abandons it as if no answer had come, and does something `after`
    /// that. Both answers are kept to the end: a grant that is dropped has had an unclean end.
    pub(crate) fn ask_twice<T>(
        &self,
        name: &str,
        ttl: Duration,
        after: impl FnOnce() -> T,
    ) -> Result<([Option<Fence>; 2], T)> {
        match self {
            Self::Blocking(store) => blocking::ask_twice(store, name, ttl, after),
            Self::Polled(store) => store.ask_twice(name, ttl, after),
        }
    }

    pub(crate) fn release_all(&self) -> Vec<Error> {
        match self {
            Self::Blocking(_) => release_all(),
            Self::Polled(store) => store.block_on.run(aio::release_all()),
        }
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blocking(store) => store.fmt(f),
            Self::Polled(store) => store.store.fmt(f),
        }
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
    fn run(&self, work: &mut (dyn FnMut() + Send)) -> Result<()>;
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
