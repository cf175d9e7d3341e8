//! The store for threads.

use tenure_core::aio::block_on;
use tenure_core::{
    Advice, AnyBackend, Attempt, Backend, Claim, Granted, Release, Renewal, Restore, Result, Site, Watch,
};

use super::{Quorum, QuorumGrant};

impl Backend for Quorum {
    type Grant = QuorumGrant;
    type Handle = Self;

    fn handle(&self) -> Self {
        self.clone()
    }

    fn site(&self) -> &Site {
        &self.0.site
    }

    fn try_acquire(&self, claim: &Claim) -> Result<Attempt<QuorumGrant>> {
        block_on(self.acquire(claim))
    }

    fn renew(&self, due: Renewal<'_, QuorumGrant>) -> Result<()> {
        block_on(self.extend(due))
    }

    fn renew_many(&self, due: &[Renewal<'_, QuorumGrant>]) -> Vec<Result<()>> {
        block_on(self.extend_many(due))
    }

    fn release(&self, end: Release<'_, QuorumGrant>) -> Result<()> {
        block_on(self.end(end))
    }

    fn abandon(&self, claim: &Claim) {
        block_on(self.leave(claim));
    }

    fn watch(&self, claim: &Claim) -> Result<Watch> {
        block_on(self.listen(claim))
    }

    fn diagnose(&self) -> Vec<Advice> {
        block_on(self.advise())
    }
}

impl Restore for Quorum {
    fn restore(&self, claim: &Claim) -> Result<Granted<QuorumGrant>> {
        block_on(self.take_up(claim))
    }
}

impl From<Quorum> for AnyBackend {
    fn from(store: Quorum) -> Self {
        Self::erase(store).inspect().restore().build()
    }
}
