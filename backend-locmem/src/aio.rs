//! The store for tasks. It never waits, so every future is done when it is first polled.

use tenure_core::aio::{self, AsyncBackend, AsyncInspect, AsyncRestore, Task};
use tenure_core::{
    Attempt, Backend, Breaking, Claim, Granted, Holder, Inspect, Name, Release, Renewal, Restore, Result,
    Site, Watch,
};

use crate::LocMem;

impl AsyncBackend for LocMem {
    type Grant = ();
    type Handle = Self;

    fn handle(&self) -> Self {
        self.clone()
    }

    fn site(&self) -> &Site {
        Backend::site(self)
    }

    async fn try_acquire(&self, claim: &Claim) -> Result<Attempt<()>> {
        Backend::try_acquire(self, claim)
    }

    async fn renew(&self, due: Renewal<'_, ()>) -> Result<()> {
        Backend::renew(self, due)
    }

    async fn release(&self, end: Release<'_, ()>) -> Result<()> {
        Backend::release(self, end)
    }

    /// What core has to do in the background is done at once.
    fn spawn(&self, task: Task) {
        aio::block_on(task);
    }

    async fn abandon(&self, claim: &Claim) {
        Backend::abandon(self, claim);
    }

    async fn watch(&self, claim: &Claim) -> Result<Watch> {
        Backend::watch(self, claim)
    }
}

impl AsyncRestore for LocMem {
    async fn restore(&self, claim: &Claim) -> Result<Granted<()>> {
        Restore::restore(self, claim)
    }
}

impl AsyncInspect for LocMem {
    async fn inspect(&self, name: &Name) -> Result<Option<Holder>> {
        Inspect::inspect(self, name)
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Holder>> {
        Inspect::list(self, prefix)
    }

    async fn force_release(&self, name: &Name, breaking: Breaking, reason: &str) -> Result<Option<Holder>> {
        Inspect::force_release(self, name, breaking, reason)
    }
}

impl From<LocMem> for aio::AnyBackend {
    fn from(store: LocMem) -> Self {
        Self::erase(store).inspect().restore().sessions().build()
    }
}
