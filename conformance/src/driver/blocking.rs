//! Stores that block.

use std::sync::Arc;
use std::time::Duration;

use tenure_core::{
    AnyBackend, Attempt, Backend, Cause, Fence, Handle, Held, Lock, Moment, Owner, Result, Status,
};

use super::{Acquiring, Holding, TestHeld};
use crate::subject::Options;

/// Sets the options that a kind of lock has.
macro_rules! apply {
    ($options:expr, $lock:expr) => {{
        let (options, mut lock) = ($options, $lock);
        if let Some(ttl) = options.ttl {
            lock = lock.ttl(ttl);
        }
        if options.keep_alive {
            lock = lock.keep_alive();
        }
        if let Some(sleep) = options.sleep {
            lock = lock.sleep(sleep);
        }
        if let Some(release) = options.release_on_drop {
            lock = lock.release_on_drop(release);
        }
        if let Some(least) = options.hold_at_least {
            lock = lock.hold_at_least(least);
        }
        match &options.label {
            Some(label) => lock.label(label.as_str()),
            None => lock,
        }
    }};
}
pub(super) use apply;

pub(super) fn lock(store: &AnyBackend, name: &str, options: &Options) -> Arc<dyn Acquiring> {
    match options.session {
        false => Arc::new(apply!(options, Lock::new(store, name))),
        true => {
            let store = store.sessions().expect("a case with sessions says that it needs them");
            Arc::new(apply!(options, Lock::new(store, name).session()))
        }
    }
}

pub(super) fn restore(store: &AnyBackend, name: &str, options: &Options, owner: Owner) -> Result<TestHeld> {
    let store = store.restorable().expect("a case that restores says that it needs it");
    Ok(Box::new(apply!(options, Lock::new(store, name)).restore(owner)?))
}

pub(super) fn ask_twice<T>(
    store: &AnyBackend,
    name: &str,
    ttl: Duration,
    after: impl FnOnce() -> T,
) -> Result<([Option<Fence>; 2], T)> {
    let claim = Lock::new(store, name).ttl(ttl).claim_as(Owner::random())?;
    let answers = [store.try_acquire(&claim)?, store.try_acquire(&claim)?];
    store.abandon(&claim);
    Ok((answers.each_ref().map(fence), after()))
}

/// The fence of an answer, if it is a grant.
pub(super) fn fence<G>(answer: &Attempt<G>) -> Option<Fence> {
    match answer {
        Attempt::Granted(granted) => Some(granted.fence()),
        Attempt::Denied(_) => None,
    }
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

    fn run(&self, work: &mut (dyn FnMut() + Send)) -> Result<()> {
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
