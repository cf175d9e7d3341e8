//! The store for tasks whose work is done by threads of a pool.

use std::sync::{Arc, OnceLock};
use std::task::{Context, Waker};
use std::time::Duration;

use tenure_core::aio::{self, Task};
use tenure_core::{
    Advice, Attempt, Backend, Breaking, Claim, Granted, Holder, Inspect, Name, Owner, Release, Renewal,
    Restore, Result, Site, Watch,
};

use super::lines::Lines;
use crate::Db;

#[derive(Clone)]
pub(super) struct Threads {
    db: Db,
    lines: Arc<Lines>,
}

impl Threads {
    pub(super) fn new(db: Db) -> Self {
        Self { db, lines: Arc::default() }
    }

    pub(super) async fn migrate(&self) -> Result<()> {
        self.work(None, |db| db.migrate()).await
    }

    pub(super) async fn forget_unused(&self, idle: Duration) -> Result<u64> {
        self.work(None, move |db| db.forget_unused(idle)).await
    }

    pub(super) fn site(&self) -> &Site {
        Backend::site(&self.db)
    }

    pub(super) async fn try_acquire(&self, claim: &Claim) -> Result<Attempt<()>> {
        let own = claim.clone();
        self.work(Some(claim.owner()), move |db| db.try_acquire(&own)).await
    }

    pub(super) async fn renew(&self, due: Renewal<'_, ()>) -> Result<()> {
        let (claim, ttl) = (due.claim().clone(), due.ttl());
        self.work(Some(claim.owner()), move |db| db.renew(Renewal::new(&claim, &(), ttl))).await
    }

    pub(super) async fn renew_many(&self, due: &[Renewal<'_, ()>]) -> Vec<Result<()>> {
        let owners = due.iter().map(|due| due.claim().owner());
        let own: Vec<(Claim, Duration)> = due.iter().map(|due| (due.claim().clone(), due.ttl())).collect();
        let renew = move |db: &Db| {
            let due: Vec<_> = own.iter().map(|(claim, ttl)| Renewal::new(claim, &(), *ttl)).collect();
            db.renew_many(&due)
        };
        self.work(owners, renew).await
    }

    pub(super) async fn release(&self, end: Release<'_, ()>) -> Result<()> {
        let (claim, keep) = (end.claim().clone(), end.keep());
        self.work(Some(claim.owner()), move |db| db.release(Release::new(&claim, &(), keep))).await
    }

    /// Does what can be done at once, and the rest in a thread of the pool.
    #[expect(clippy::unused_self, reason = "the other ways need it")]
    pub(super) fn spawn(&self, mut task: Task) {
        if task.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
            blocking::unblock(move || aio::block_on(task)).detach();
        }
    }

    pub(super) async fn abandon(&self, claim: &Claim) {
        let own = claim.clone();
        self.work(Some(claim.owner()), move |db| db.abandon(&own)).await;
    }

    pub(super) async fn watch(&self, claim: &Claim) -> Result<Watch> {
        let claim = claim.clone();
        self.work(None, move |db| db.watch(&claim)).await
    }

    pub(super) async fn is_awaited(&self, claim: &Claim) -> bool {
        let claim = claim.clone();
        self.work(None, move |db| db.is_awaited(&claim)).await
    }

    pub(super) async fn diagnose(&self) -> Vec<Advice> {
        self.work(None, |db| db.diagnose()).await
    }

    pub(super) async fn restore(&self, claim: &Claim) -> Result<Granted<()>> {
        let own = claim.clone();
        self.work(Some(claim.owner()), move |db| db.restore(&own)).await
    }

    pub(super) async fn inspect(&self, name: &Name) -> Result<Option<Holder>> {
        let name = name.clone();
        self.work(None, move |db| db.inspect(&name)).await
    }

    pub(super) async fn list(&self, prefix: &str) -> Result<Vec<Holder>> {
        let prefix = prefix.to_owned();
        self.work(None, move |db| db.list(&prefix)).await
    }

    pub(super) async fn force_release(
        &self,
        name: &Name,
        breaking: Breaking,
        reason: &str,
    ) -> Result<Option<Holder>> {
        let (name, reason) = (name.clone(), reason.to_owned());
        self.work(None, move |db| db.force_release(&name, breaking, &reason)).await
    }

    /// Does work when the turn of the owners has come. Dropped before it has begun, it is never done.
    async fn work<T: Send + 'static>(
        &self,
        owners: impl IntoIterator<Item = Owner>,
        work: impl FnOnce(&Db) -> T + Send + 'static,
    ) -> T {
        let places = self.lines.stand(owners);
        for place in &places {
            place.turn().await;
        }
        let db = self.db.clone();
        in_pool(move || {
            let done = work(&db);
            // Whoever has the next place may go on.
            drop(places);
            done
        })
        .await
    }
}

/// Does `work` in a thread of the pool.
pub(super) async fn in_pool<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    static PROCESS: OnceLock<u32> = OnceLock::new();
    let pid = std::process::id();
    if *PROCESS.get_or_init(|| pid) != pid {
        // A forked child inherits no thread of the pool, and no other thread that could be kept waiting.
        return work();
    }
    blocking::unblock(work).await
}
