//! Stores for threads and stores for tasks, spoken to alike.

use std::sync::Arc;
use std::time::Duration;

use tenure_core::{AnyBackend, Fence, Held, Lock, Owner, Result, aio};
use tokio::runtime::Runtime;

/// An open store.
#[derive(Clone)]
pub(crate) enum Store {
    Blocking(AnyBackend),
    Polled(aio::AnyBackend, Arc<Runtime>),
}

/// A lock that is held.
pub(crate) enum Holding {
    Blocking(Lock<AnyBackend, Held>),
    Polled(aio::Lock<aio::AnyBackend, Held>, Arc<Runtime>),
}

impl Store {
    /// Gets a lock for `ttl`, renewed in the background if it is `kept`; waits for it if there is a limit.
    pub(crate) fn acquire(
        &self,
        name: &str,
        ttl: Duration,
        kept: bool,
        limit: Option<Duration>,
    ) -> Result<Holding> {
        match self {
            Self::Blocking(store) => {
                let lock = Lock::new(store, name).ttl(ttl);
                let lock = if kept { lock.keep_alive() } else { lock };
                limit
                    .map_or_else(|| lock.try_acquire(), |limit| lock.acquire_for(limit))
                    .map(Holding::Blocking)
            }
            Self::Polled(store, runtime) => {
                let lock = aio::Lock::new(store, name).ttl(ttl);
                let lock = if kept { lock.keep_alive() } else { lock };
                let held = runtime.block_on(async {
                    match limit {
                        None => lock.try_acquire().await,
                        Some(limit) => lock.acquire_for(limit).await,
                    }
                });
                held.map(|held| Holding::Polled(held, runtime.clone()))
            }
        }
    }
}

impl Holding {
    pub(crate) fn fence(&self) -> Fence {
        match self {
            Self::Blocking(held) => held.fence(),
            Self::Polled(held, _) => held.fence(),
        }
    }

    pub(crate) fn owner(&self) -> Owner {
        match self {
            Self::Blocking(held) => held.owner(),
            Self::Polled(held, _) => held.owner(),
        }
    }

    /// Whether the holder still believes.
    pub(crate) fn is_held(&self) -> bool {
        match self {
            Self::Blocking(held) => held.is_held(),
            Self::Polled(held, _) => held.is_held(),
        }
    }

    pub(crate) fn renew(&self) -> Result<()> {
        match self {
            Self::Blocking(held) => held.renew(),
            Self::Polled(held, runtime) => runtime.block_on(held.renew()),
        }
    }

    pub(crate) fn release(self) -> Result<()> {
        match self {
            Self::Blocking(held) => held.release(),
            Self::Polled(held, runtime) => runtime.block_on(held.release()),
        }
    }
}
