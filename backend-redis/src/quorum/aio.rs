//! The store for tasks.

use tenure_core::aio::{self, AsyncBackend, AsyncRestore, Task};
use tenure_core::{Advice, Attempt, Claim, Granted, Release, Renewal, Result, Site, Watch};

use super::{Quorum, QuorumGrant};

/// A request that a dropped future had not sent by then is not sent; one that was is undone by what follows
/// it, which goes out behind it.
impl AsyncBackend for Quorum {
    type Grant = QuorumGrant;
    type Handle = Self;

    fn handle(&self) -> Self {
        self.clone()
    }

    fn site(&self) -> &Site {
        &self.0.site
    }

    async fn try_acquire(&self, claim: &Claim) -> Result<Attempt<QuorumGrant>> {
        self.acquire(claim).await
    }

    async fn renew(&self, due: Renewal<'_, QuorumGrant>) -> Result<()> {
        self.extend(due).await
    }

    async fn renew_many(&self, due: &[Renewal<'_, QuorumGrant>]) -> Vec<Result<()>> {
        self.extend_many(due).await
    }

    async fn release(&self, end: Release<'_, QuorumGrant>) -> Result<()> {
        self.end(end).await
    }

    fn spawn(&self, task: Task) {
        self.0.tasks.spawn(task);
    }

    async fn abandon(&self, claim: &Claim) {
        self.leave(claim).await;
    }

    async fn watch(&self, claim: &Claim) -> Result<Watch> {
        self.listen(claim).await
    }

    async fn diagnose(&self) -> Vec<Advice> {
        self.advise().await
    }
}

impl AsyncRestore for Quorum {
    async fn restore(&self, claim: &Claim) -> Result<Granted<QuorumGrant>> {
        self.take_up(claim).await
    }
}

impl From<Quorum> for aio::AnyBackend {
    fn from(store: Quorum) -> Self {
        Self::erase(store).inspect().restore().build()
    }
}
