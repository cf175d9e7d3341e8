//! The models for tasks.
//!
//! A request is carried out in place, between two polls: it goes out at the second poll of its future,
//! and the answer comes at the third. A future that is dropped before has sent nothing; one that is
//! dropped after has, and whatever follows with the same claim comes later, as the order of polls is the
//! order of requests. A store over a network writes to a connection instead, and keeps the same order
//! there.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;

use tenure_core::aio::{self, AsyncBackend, AsyncInspect, AsyncRestore, Task};
use tenure_core::{
    Attempt, Backend, Breaking, Claim, Granted, Holder, Inspect, Name, Release, Renewal, Restore, Result,
    Site, Watch,
};

use super::Fault;
use super::grants::Hold;
use super::model::Model;
use super::odd::Leaves;
use super::queue::QueueModel;

/// Pending once.
#[derive(Default)]
struct OnTheWay {
    arrived: bool,
}

impl Future for OnTheWay {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.arrived {
            return Poll::Ready(());
        }
        self.arrived = true;
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

async fn send<T>(request: impl FnOnce() -> T) -> T {
    OnTheWay::default().await;
    let answer = request();
    OnTheWay::default().await;
    answer
}

impl AsyncBackend for Model {
    type Grant = Hold;
    type Handle = Self;

    fn handle(&self) -> Self {
        self.clone()
    }

    fn site(&self) -> &Site {
        Backend::site(self)
    }

    async fn try_acquire(&self, claim: &Claim) -> Result<Attempt<Hold>> {
        let unsent = self.has(Fault::SendsWhatWasDropped).then(|| Unsent { model: self, claim });
        let answer = send(|| Backend::try_acquire(self, claim)).await;
        std::mem::forget(unsent);
        answer
    }

    async fn renew(&self, due: Renewal<'_, Hold>) -> Result<()> {
        let pinned = self.has(Fault::EndsWithTheFuture).then(|| Leaves::new(self, due.claim()));
        let answer = send(|| Backend::renew(self, due)).await;
        if let Some(leaves) = pinned {
            leaves.forget();
        }
        answer
    }

    async fn release(&self, end: Release<'_, Hold>) -> Result<()> {
        send(|| Backend::release(self, end)).await
    }

    /// On a thread of its own: there may be no runtime, and this must not block.
    fn spawn(&self, task: Task) {
        if !self.has(Fault::DropsTasks) {
            thread::spawn(|| aio::block_on(task));
        }
    }

    async fn abandon(&self, claim: &Claim) {
        send(|| Backend::abandon(self, claim)).await;
    }

    async fn watch(&self, claim: &Claim) -> Result<Watch> {
        send(|| Backend::watch(self, claim)).await
    }

    async fn is_awaited(&self, claim: &Claim) -> bool {
        send(|| Backend::is_awaited(self, claim)).await
    }

    async fn renew_many(&self, due: &[Renewal<'_, Hold>]) -> Vec<Result<()>> {
        send(|| Backend::renew_many(self, due)).await
    }
}

impl AsyncRestore for Model {
    async fn restore(&self, claim: &Claim) -> Result<Granted<Hold>> {
        send(|| Restore::restore(self, claim)).await
    }
}

impl AsyncInspect for Model {
    async fn inspect(&self, name: &Name) -> Result<Option<Holder>> {
        send(|| Inspect::inspect(self, name)).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Holder>> {
        send(|| Inspect::list(self, prefix)).await
    }

    async fn force_release(&self, name: &Name, breaking: Breaking, reason: &str) -> Result<Option<Holder>> {
        send(|| Inspect::force_release(self, name, breaking, reason)).await
    }
}

impl From<Model> for aio::AnyBackend {
    fn from(model: Model) -> Self {
        Self::erase(model).inspect().restore().sessions().shared().permits().build()
    }
}

/// A request that a broken store sends although nobody waits for the answer any more.
struct Unsent<'a> {
    model: &'a Model,
    claim: &'a Claim,
}

impl Drop for Unsent<'_> {
    fn drop(&mut self) {
        let (model, claim) = (self.model.clone(), self.claim.clone());
        thread::spawn(move || {
            // After whatever else is sent for this claim.
            thread::sleep(Duration::from_millis(10));
            if let Ok(Attempt::Granted(granted)) = Backend::try_acquire(&model, &claim) {
                std::mem::forget(granted);
            }
        });
    }
}

impl AsyncBackend for QueueModel {
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

impl From<QueueModel> for aio::AnyBackend {
    fn from(model: QueueModel) -> Self {
        Self::new(model)
    }
}
