//! Locks of both kinds, so that one test can be about both.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tenure_core::testing::Scripted;
use tenure_core::{Held, Owner, Result, aio};

/// Which kind of lock.
#[derive(Clone, Copy, Debug)]
pub enum Way {
    Blocks,
    Polled,
}

pub const WAYS: [Way; 2] = [Way::Blocks, Way::Polled];

/// A lock of either kind.
pub enum Lock {
    Blocks(tenure_core::Lock<Scripted>),
    Polled(aio::Lock<Scripted>),
}

/// A held lock of either kind.
pub enum Got {
    Blocks(tenure_core::Lock<Scripted, Held>),
    Polled(aio::Lock<Scripted, Held>, Scripted),
}

/// Calls the method of either kind.
macro_rules! either {
    ($lock:expr, |$inner:ident| $call:expr) => {
        match $lock {
            Lock::Blocks($inner) => $call.map(Got::Blocks),
            Lock::Polled($inner) => {
                let store = $inner.store();
                drive(store, $call).map(|held| Got::Polled(held, store.clone()))
            }
        }
    };
}

impl Lock {
    pub fn new(store: &Scripted, way: Way, name: &str) -> Self {
        match way {
            Way::Blocks => Self::Blocks(tenure_core::Lock::new(store, name)),
            Way::Polled => Self::Polled(aio::Lock::new(store, name)),
        }
    }

    pub fn ttl(self, ttl: Duration) -> Self {
        match self {
            Self::Blocks(lock) => Self::Blocks(lock.ttl(ttl)),
            Self::Polled(lock) => Self::Polled(lock.ttl(ttl)),
        }
    }

    pub fn release_on_drop(self, release: bool) -> Self {
        match self {
            Self::Blocks(lock) => Self::Blocks(lock.release_on_drop(release)),
            Self::Polled(lock) => Self::Polled(lock.release_on_drop(release)),
        }
    }

    pub fn try_acquire(&self) -> Result<Got> {
        either!(self, |lock| lock.try_acquire())
    }

    pub fn acquire(&self) -> Result<Got> {
        either!(self, |lock| lock.acquire())
    }

    pub fn acquire_for(&self, limit: Duration) -> Result<Got> {
        either!(self, |lock| lock.acquire_for(limit))
    }

    pub fn restore(&self, owner: Owner) -> Result<Got> {
        either!(self, |lock| lock.restore(owner))
    }
}

impl Got {
    pub fn owner(&self) -> Owner {
        match self {
            Self::Blocks(held) => held.owner(),
            Self::Polled(held, _) => held.owner(),
        }
    }

    pub fn renew(&self) -> Result<()> {
        match self {
            Self::Blocks(held) => held.renew(),
            Self::Polled(held, store) => drive(store, held.renew()),
        }
    }

    pub fn release(self) -> Result<()> {
        match self {
            Self::Blocks(held) => held.release(),
            Self::Polled(held, store) => drive(&store, held.release()),
        }
    }
}

/// Lets time pass until a future is done.
fn drive<T>(store: &Scripted, future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(done) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return done;
        }
        store.clock().advance(Duration::from_millis(1));
    }
}
