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

/// A store for threads, and the lines of those who ask it for something.
#[derive(Clone)]
pub(crate) struct Threads<B> {
    store: B,
    lines: Arc<Lines>,
}

/// What only a [`Db`] can do.
impl Threads<Db> {
    pub(super) async fn migrate(&self) -> Result<()> {
        self.work(None, |db| db.migrate()).await
    }

    pub(super) async fn forget_unused(&self, idle: Duration) -> Result<u64> {
        self.work(None, move |db| db.forget_unused(idle)).await
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
}

impl<B> Threads<B>
where
    B: Backend + Clone + 'static,
    B::Grant: Clone,
{
    pub(crate) fn new(store: B) -> Self {
        Self { store, lines: Arc::default() }
    }

    pub(crate) fn site(&self) -> &Site {
        self.store.site()
    }

    pub(crate) async fn try_acquire(&self, claim: &Claim) -> Result<Attempt<B::Grant>> {
        let own = claim.clone();
        self.work(Some(claim.owner()), move |store| store.try_acquire(&own)).await
    }

    pub(crate) async fn renew(&self, due: Renewal<'_, B::Grant>) -> Result<()> {
        let (claim, grant, ttl) = (due.claim().clone(), due.grant().clone(), due.ttl());
        self.work(Some(claim.owner()), move |store| store.renew(Renewal::new(&claim, &grant, ttl))).await
    }

    pub(crate) async fn renew_many(&self, due: &[Renewal<'_, B::Grant>]) -> Vec<Result<()>> {
        let owners = due.iter().map(|due| due.claim().owner());
        let own = due.iter().map(|due| (due.claim().clone(), due.grant().clone(), due.ttl()));
        let own: Vec<(Claim, B::Grant, Duration)> = own.collect();
        let renew = move |store: &B| {
            let due: Vec<_> =
                own.iter().map(|(claim, grant, ttl)| Renewal::new(claim, grant, *ttl)).collect();
            store.renew_many(&due)
        };
        self.work(owners, renew).await
    }

    pub(crate) async fn release(&self, end: Release<'_, B::Grant>) -> Result<()> {
        let (claim, grant, keep) = (end.claim().clone(), end.grant().clone(), end.keep());
        self.work(Some(claim.owner()), move |store| store.release(Release::new(&claim, &grant, keep))).await
    }

    /// Does what can be done at once, and the rest in a thread of the pool.
    #[expect(clippy::unused_self, reason = "the other ways need it")]
    pub(crate) fn spawn(&self, mut task: Task) {
        if task.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
            blocking::unblock(move || aio::block_on(task)).detach();
        }
    }

    pub(crate) async fn abandon(&self, claim: &Claim) {
        let own = claim.clone();
        self.work(Some(claim.owner()), move |store| store.abandon(&own)).await;
    }

    pub(crate) async fn watch(&self, claim: &Claim) -> Result<Watch> {
        let claim = claim.clone();
        self.work(None, move |store| store.watch(&claim)).await
    }

    pub(crate) async fn is_awaited(&self, claim: &Claim) -> bool {
        let claim = claim.clone();
        self.work(None, move |store| store.is_awaited(&claim)).await
    }

    pub(crate) async fn diagnose(&self) -> Vec<Advice> {
        self.work(None, |store| store.diagnose()).await
    }

    /// Does work when the turn of the owners has come. Dropped before it has begun, it is never done.
    async fn work<T: Send + 'static>(
        &self,
        owners: impl IntoIterator<Item = Owner>,
        work: impl FnOnce(&B) -> T + Send + 'static,
    ) -> T {
        let places = self.lines.stand(owners);
        for place in &places {
            place.turn().await;
        }
        let store = self.store.clone();
        in_pool(move || {
            let done = work(&store);
            // Whoever has the next place may go on.
            drop(places);
            done
        })
        .await
    }
}

/// Does `work` in a thread of the pool.
pub(crate) async fn in_pool<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    static PROCESS: OnceLock<u32> = OnceLock::new();
    let pid = std::process::id();
    if *PROCESS.get_or_init(|| pid) != pid {
        // A forked child inherits no thread of the pool, and no other thread that could be kept waiting.
        return work();
    }
    blocking::unblock(work).await
}
