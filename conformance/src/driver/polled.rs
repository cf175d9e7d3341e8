//! Stores that are awaited: their futures are run to the end by an executor.

use std::fmt;
use std::future::Future;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tenure_core::aio::{self, AnyBackend, AsyncBackend, AsyncHandle, AsyncInspect, Lock};
use tenure_core::{Breaking, Cause, Fence, Held, Holder, Inspect, Moment, Name, Owner, Result, Status};

use super::blocking::{apply, fence};
use super::{Acquiring, Holding, TestHeld};
use crate::subject::Options;

/// Runs a future to its end.
pub(crate) type Executor = dyn Fn(Pin<Box<dyn Future<Output = ()> + Send + '_>>) + Send + Sync;

/// Runs it on the thread that asks, which is what a store without a runtime of its own can do with.
pub(crate) fn here(future: Pin<Box<dyn Future<Output = ()> + Send + '_>>) {
    aio::block_on(future);
}

#[derive(Clone)]
pub(crate) struct BlockOn(pub(super) Arc<Executor>);

impl BlockOn {
    pub(super) fn run<T: Send>(&self, future: impl Future<Output = T> + Send) -> T {
        let mut output = None;
        (self.0)(Box::pin(async { output = Some(future.await) }));
        output.expect("an executor runs a future to its end")
    }
}

/// A store with what runs its futures.
#[derive(Clone)]
pub(crate) struct Awaited {
    pub(super) store: AnyBackend,
    pub(super) block_on: BlockOn,
}

impl Awaited {
    pub(crate) fn store(&self) -> &AnyBackend {
        &self.store
    }

    /// Runs a future to its end.
    pub(crate) fn run<T: Send>(&self, future: impl Future<Output = T> + Send) -> T {
        self.block_on.run(future)
    }

    /// Does something where futures of the store may be polled.
    pub(crate) fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.block_on.run(async { work() })
    }

    pub(super) fn lock(&self, name: &str, options: &Options) -> Arc<dyn Acquiring> {
        match options.session {
            false => self.driven(apply!(options, Lock::new(&self.store, name))),
            true => {
                let store = self.store.sessions().expect("a case with sessions says that it needs them");
                self.driven(apply!(options, Lock::new(store, name).session()))
            }
        }
    }

    pub(super) fn restore(&self, name: &str, options: &Options, owner: Owner) -> Result<TestHeld> {
        let store = self.store.restorable().expect("a case that restores says that it needs it");
        let lock = apply!(options, Lock::new(store, name));
        let held = self.block_on.run(lock.restore(owner))?;
        Ok(Box::new(Driven { lock: held, block_on: self.block_on.clone() }))
    }

    pub(super) fn ask_twice<T>(
        &self,
        name: &str,
        ttl: Duration,
        after: impl FnOnce() -> T,
    ) -> Result<([Option<Fence>; 2], T)> {
        let claim = Lock::new(&self.store, name).ttl(ttl).claim_as(Owner::random())?;
        let ask = || self.block_on.run(self.store.try_acquire(&claim));
        let answers = [ask()?, ask()?];
        self.block_on.run(self.store.abandon(&claim));
        Ok((answers.each_ref().map(fence), after()))
    }

    pub(super) fn inspect(&self) -> Option<impl Inspect> {
        let inspect = self.store.inspect()?;
        Some(Looking { inspect, block_on: self.block_on.clone() })
    }

    fn driven<B: AsyncHandle>(&self, lock: Lock<B>) -> Arc<dyn Acquiring> {
        Arc::new(Driven { lock, block_on: self.block_on.clone() })
    }
}

/// A lock with what runs its futures.
struct Driven<L> {
    lock: L,
    block_on: BlockOn,
}

impl<B: AsyncHandle> Driven<Lock<B>> {
    fn held(&self, acquire: impl Future<Output = Result<Lock<B, Held>>> + Send) -> Result<TestHeld> {
        let held = self.block_on.run(acquire)?;
        Ok(Box::new(Driven { lock: held, block_on: self.block_on.clone() }))
    }
}

impl<B: AsyncHandle> Acquiring for Driven<Lock<B>> {
    fn try_acquire(&self) -> Result<TestHeld> {
        self.held(self.lock.try_acquire())
    }

    fn acquire(&self) -> Result<TestHeld> {
        self.held(self.lock.acquire())
    }

    fn acquire_for(&self, limit: Duration) -> Result<TestHeld> {
        self.held(self.lock.acquire_for(limit))
    }

    fn acquire_until(&self, deadline: Moment) -> Result<TestHeld> {
        self.held(self.lock.acquire_until(deadline))
    }

    fn run(&self, work: &mut (dyn FnMut() + Send)) -> Result<()> {
        // Work that runs futures must not do so on a thread that is running one.
        let elsewhere = async |_: &_| match thread::scope(|scope| scope.spawn(work).join()) {
            Ok(()) => {}
            Err(panic) => resume_unwind(panic),
        };
        self.block_on.run(self.lock.run(elsewhere))?.kept()
    }
}

impl<B: AsyncHandle> Holding for Driven<Lock<B, Held>> {
    fn fence(&self) -> Fence {
        self.lock.fence()
    }

    fn owner(&self) -> Owner {
        self.lock.owner()
    }

    fn deadline(&self) -> Option<Moment> {
        self.lock.deadline()
    }

    fn remaining(&self) -> Option<Duration> {
        self.lock.remaining()
    }

    fn status(&self) -> Status {
        self.lock.status()
    }

    fn is_held(&self) -> bool {
        self.lock.is_held()
    }

    fn lost(&self) -> Cause {
        self.block_on.run(self.lock.lost())
    }

    fn on_lost(&self, callback: Box<dyn FnOnce(Cause) + Send>) {
        self.lock.on_lost(callback);
    }

    fn renew(&self) -> Result<()> {
        self.block_on.run(self.lock.renew())
    }

    fn renew_for(&self, ttl: Duration) -> Result<()> {
        self.block_on.run(self.lock.renew_for(ttl))
    }

    fn keep_alive(&self) {
        self.lock.keep_alive();
    }

    fn release(self: Box<Self>) -> Result<()> {
        let Self { lock, block_on } = *self;
        block_on.run(lock.release())
    }
}

impl<B: AsyncHandle> fmt::Debug for Driven<Lock<B, Held>> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lock.fmt(f)
    }
}

/// A look from outside, with what runs its futures.
struct Looking {
    inspect: aio::AnyInspect,
    block_on: BlockOn,
}

impl Inspect for Looking {
    fn inspect(&self, name: &Name) -> Result<Option<Holder>> {
        self.block_on.run(self.inspect.inspect(name))
    }

    fn list(&self, prefix: &str) -> Result<Vec<Holder>> {
        self.block_on.run(self.inspect.list(prefix))
    }

    fn force_release(&self, name: &Name, breaking: Breaking, reason: &str) -> Result<Option<Holder>> {
        self.block_on.run(self.inspect.force_release(name, breaking, reason))
    }
}
