//! The store for tasks.

use std::task::{Context, Waker};

use tenure_core::aio::{self, AsyncBackend, AsyncInspect, AsyncRestore, Task};
use tenure_core::{
    Advice, Attempt, Backend, Breaking, Claim, Granted, Holder, Inspect, Moment, Name, Release, Renewal,
    Restore, Result, Site, Watch,
};

use crate::grant::FileGrant;
use crate::task;
use crate::{Files, Flock, FlockGrant};

impl Files {
    /// Does something in place if the disk was quick lately and nobody is in the way; else in a
    /// thread of the pool, as `job`.
    async fn soon<T, J>(&self, work: impl FnOnce() -> T, job: impl FnOnce(Self) -> J) -> T
    where
        T: Send + 'static,
        J: FnOnce() -> T + Send + 'static,
    {
        if task::is_background() {
            return work();
        }
        let began = Moment::now();
        if self.0.pace.is_quick(began) {
            let done = task::at_once(work);
            self.0.pace.took(began, Moment::now());
            if let Some(done) = done {
                return done;
            }
        }
        task::in_pool(job(self.clone())).await
    }
}

/// A record that this process has open is changed in place, by a few system calls on a page in
/// memory; opening one, and waiting for another process that is inside it, are done in a thread of
/// a pool, and so is everything for half a minute after the disk was slow.
impl AsyncBackend for Files {
    type Grant = FileGrant;
    type Handle = Self;

    fn handle(&self) -> Self {
        self.clone()
    }

    fn site(&self) -> &Site {
        Backend::site(self)
    }

    async fn try_acquire(&self, claim: &Claim) -> Result<Attempt<FileGrant>> {
        self.soon(
            || Backend::try_acquire(self, claim),
            |files| {
                let claim = claim.clone();
                move || Backend::try_acquire(&files, &claim)
            },
        )
        .await
    }

    async fn renew(&self, due: Renewal<'_, FileGrant>) -> Result<()> {
        self.soon(
            || Backend::renew(self, due),
            |files| {
                let (claim, grant, ttl) = (due.claim().clone(), due.grant().share(), due.ttl());
                move || Backend::renew(&files, Renewal::new(&claim, &grant, ttl))
            },
        )
        .await
    }

    async fn release(&self, end: Release<'_, FileGrant>) -> Result<()> {
        self.soon(
            || Backend::release(self, end),
            |files| {
                let (claim, grant, keep) = (end.claim().clone(), end.grant().share(), end.keep());
                move || Backend::release(&files, Release::new(&claim, &grant, keep))
            },
        )
        .await
    }

    fn spawn(&self, task: Task) {
        spawn(task);
    }

    async fn abandon(&self, claim: &Claim) {
        self.soon(
            || Backend::abandon(self, claim),
            |files| {
                let claim = claim.clone();
                move || Backend::abandon(&files, &claim)
            },
        )
        .await;
    }

    /// Opens the record once more, so never in place.
    async fn watch(&self, claim: &Claim) -> Result<Watch> {
        let (files, claim) = (self.clone(), claim.clone());
        task::in_pool(move || Backend::watch(&files, &claim)).await
    }

    async fn is_awaited(&self, claim: &Claim) -> bool {
        task::at_once(|| Backend::is_awaited(self, claim)).unwrap_or(false)
    }

    async fn diagnose(&self) -> Vec<Advice> {
        let files = self.clone();
        task::in_pool(move || Backend::diagnose(&files)).await
    }
}

impl AsyncRestore for Files {
    async fn restore(&self, claim: &Claim) -> Result<Granted<FileGrant>> {
        let (files, claim) = (self.clone(), claim.clone());
        task::in_pool(move || Restore::restore(&files, &claim)).await
    }
}

impl AsyncInspect for Files {
    async fn inspect(&self, name: &Name) -> Result<Option<Holder>> {
        let (files, name) = (self.clone(), name.clone());
        task::in_pool(move || Inspect::inspect(&files, &name)).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Holder>> {
        let (files, prefix) = (self.clone(), prefix.to_owned());
        task::in_pool(move || Inspect::list(&files, &prefix)).await
    }

    async fn force_release(&self, name: &Name, breaking: Breaking, reason: &str) -> Result<Option<Holder>> {
        let (files, name, reason) = (self.clone(), name.clone(), reason.to_owned());
        task::in_pool(move || Inspect::force_release(&files, &name, breaking, &reason)).await
    }
}

impl From<Files> for aio::AnyBackend {
    fn from(files: Files) -> Self {
        Self::erase(files).inspect().restore().sessions().build()
    }
}

/// Everything opens files here, so everything is done in threads of the pool.
impl AsyncBackend for Flock {
    type Grant = FlockGrant;
    type Handle = Self;

    fn handle(&self) -> Self {
        self.clone()
    }

    fn site(&self) -> &Site {
        Backend::site(self)
    }

    async fn try_acquire(&self, claim: &Claim) -> Result<Attempt<FlockGrant>> {
        let (flock, claim) = (self.clone(), claim.clone());
        task::in_pool(move || Backend::try_acquire(&flock, &claim)).await
    }

    async fn renew(&self, due: Renewal<'_, FlockGrant>) -> Result<()> {
        let (flock, claim, grant, ttl) = (self.clone(), due.claim().clone(), due.grant().share(), due.ttl());
        task::in_pool(move || Backend::renew(&flock, Renewal::new(&claim, &grant, ttl))).await
    }

    async fn release(&self, end: Release<'_, FlockGrant>) -> Result<()> {
        let (flock, claim, grant, keep) =
            (self.clone(), end.claim().clone(), end.grant().share(), end.keep());
        task::in_pool(move || Backend::release(&flock, Release::new(&claim, &grant, keep))).await
    }

    fn spawn(&self, task: Task) {
        spawn(task);
    }

    async fn abandon(&self, claim: &Claim) {
        Backend::abandon(self, claim);
    }
}

impl From<Flock> for aio::AnyBackend {
    fn from(flock: Flock) -> Self {
        Self::erase(flock).sessions().build()
    }
}

/// Does what can be done at once, and the rest in a thread of the pool.
fn spawn(mut task: Task) {
    if task.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
        blocking::unblock(move || task::in_background(|| aio::block_on(task))).detach();
    }
}
