//! A store that grants everything and counts, to see the engine alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tenure::{
    Attempt, Backend, Claim, Fence, Granted, Lease, Moment, Release, Renewal, Result, Settings, Site, Term,
};

#[derive(Clone)]
pub(crate) struct Counting(Arc<Inner>);

struct Inner {
    site: Site,
    fence: AtomicU64,
    renewals: AtomicU64,
    batches: AtomicU64,
    latest: AtomicU64,
}

/// When a grant was renewed last.
pub(crate) struct Renewed(AtomicU64);

impl Counting {
    pub(crate) fn new(settings: Settings) -> Self {
        Self(Arc::new(Inner {
            site: Site::new("counting:", settings),
            fence: AtomicU64::new(0),
            renewals: AtomicU64::new(0),
            batches: AtomicU64::new(0),
            latest: AtomicU64::new(0),
        }))
    }

    pub(crate) fn renewals(&self) -> u64 {
        self.0.renewals.load(Ordering::Relaxed)
    }

    pub(crate) fn batches(&self) -> u64 {
        self.0.batches.load(Ordering::Relaxed)
    }

    /// How far beyond a third of the lease and its jitter the latest renewal came.
    pub(crate) fn longest_lateness(&self) -> Duration {
        Duration::from_nanos(self.0.latest.load(Ordering::Relaxed))
    }
}

impl Backend for Counting {
    type Grant = Renewed;
    type Handle = Self;

    fn handle(&self) -> Self {
        self.clone()
    }

    fn site(&self) -> &Site {
        &self.0.site
    }

    fn try_acquire(&self, claim: &Claim) -> Result<Attempt<Renewed>> {
        let fence = Fence::new(self.0.fence.fetch_add(1, Ordering::Relaxed) + 1);
        let lease = claim.term().ttl().map_or(Lease::Session, |ttl| Lease::For(ttl.get()));
        let grant = Renewed(AtomicU64::new(Moment::now().as_nanos()));
        Ok(Attempt::Granted(Granted::new(grant, fence, lease)))
    }

    fn renew(&self, due: Renewal<'_, Renewed>) -> Result<()> {
        let now = Moment::now();
        let before = Moment::from_nanos(due.grant().0.swap(now.as_nanos(), Ordering::Relaxed));
        if let Term::Kept(ttl) = due.claim().term() {
            let late = now.since(before + (ttl.get() / 3).mul_f64(1.1));
            self.0.latest.fetch_max(u64::try_from(late.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
        }
        self.0.renewals.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn renew_many(&self, due: &[Renewal<'_, Renewed>]) -> Vec<Result<()>> {
        self.0.batches.fetch_add(1, Ordering::Relaxed);
        due.iter().map(|due| self.renew(*due)).collect()
    }

    fn release(&self, _: Release<'_, Renewed>) -> Result<()> {
        Ok(())
    }
}
