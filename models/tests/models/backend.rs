//! The store as a backend, for threads and for tasks.

use std::future::poll_fn;
use std::task::Poll;

use tenure_core::aio::{AsyncBackend, Task, block_on};
use tenure_core::sync::thread;
use tenure_core::{Attempt, Backend, Claim, Release, Renewal, Result, Site, Watch};

use crate::store::{Grant, Store};
use crate::take_part::draw;

impl Backend for Store {
    type Grant = Grant;
    type Handle = Self;

    fn handle(&self) -> Self {
        self.clone()
    }

    fn site(&self) -> &Site {
        &self.site
    }

    fn try_acquire(&self, claim: &Claim) -> Result<Attempt<Grant>> {
        self.acquire(claim)
    }

    fn renew(&self, due: Renewal<'_, Grant>) -> Result<()> {
        self.extend(due)
    }

    fn release(&self, end: Release<'_, Grant>) -> Result<()> {
        self.end(end.claim())
    }

    fn abandon(&self, claim: &Claim) {
        self.is_given_up(claim);
        self.take_back(claim);
    }

    fn watch(&self, claim: &Claim) -> Result<Watch> {
        Ok(self.promise(claim))
    }
}

impl AsyncBackend for Store {
    type Grant = Grant;
    type Handle = Self;

    fn handle(&self) -> Self {
        self.clone()
    }

    fn site(&self) -> &Site {
        &self.site
    }

    async fn try_acquire(&self, claim: &Claim) -> Result<Attempt<Grant>> {
        Self::way().await;
        let answer = self.acquire(claim);
        Self::way().await;
        answer
    }

    async fn renew(&self, due: Renewal<'_, Grant>) -> Result<()> {
        Self::way().await;
        let answer = self.extend(due);
        Self::way().await;
        answer
    }

    async fn release(&self, end: Release<'_, Grant>) -> Result<()> {
        Self::way().await;
        let answer = self.end(end.claim());
        Self::way().await;
        answer
    }

    fn spawn(&self, task: Task) {
        thread::Builder::new().name("task".into()).spawn(|| block_on(task)).unwrap();
    }

    async fn abandon(&self, claim: &Claim) {
        Self::way().await;
        self.take_back(claim);
    }

    async fn watch(&self, claim: &Claim) -> Result<Watch> {
        Self::way().await;
        let watch = self.promise(claim);
        Self::way().await;
        Ok(watch)
    }
}

impl Store {
    /// A request or an answer is under way.
    async fn way() {
        let mut polls = draw(2);
        poll_fn(|cx| {
            if polls == 0 {
                return Poll::Ready(());
            }
            polls -= 1;
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }
}
