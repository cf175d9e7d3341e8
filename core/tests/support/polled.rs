//! The same store for tasks: every call is polled twice before it acts and once more after.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{OnceLock, mpsc};
use std::task::{Context, Poll, Waker};
use std::thread;

use tenure_core::aio::{self, AsyncBackend, Task};
use tenure_core::{Attempt, Backend, Claim, Release, Renewal, Result, Site, Watch};

use super::Fake;

#[derive(Clone)]
pub struct Polled(pub Fake);

async fn once_more() {
    let mut polled = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut polled, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

async fn slowly<T>(act: impl FnOnce() -> T) -> T {
    once_more().await;
    let answer = act();
    once_more().await;
    answer
}

impl AsyncBackend for Polled {
    type Grant = ();
    type Handle = Self;

    fn handle(&self) -> Self {
        self.clone()
    }

    fn site(&self) -> &Site {
        Backend::site(&self.0)
    }

    async fn try_acquire(&self, claim: &Claim) -> Result<Attempt<()>> {
        slowly(|| Backend::try_acquire(&self.0, claim)).await
    }

    async fn renew(&self, due: Renewal<'_, ()>) -> Result<()> {
        slowly(|| Backend::renew(&self.0, due)).await
    }

    async fn release(&self, end: Release<'_, ()>) -> Result<()> {
        slowly(|| Backend::release(&self.0, end)).await
    }

    /// In the order in which it is called.
    fn spawn(&self, task: Task) {
        static BACKGROUND: OnceLock<mpsc::Sender<Task>> = OnceLock::new();
        let background = BACKGROUND.get_or_init(|| {
            let (send, tasks) = mpsc::channel();
            thread::spawn(move || tasks.into_iter().for_each(aio::block_on));
            send
        });
        background.send(task).unwrap();
    }

    async fn abandon(&self, claim: &Claim) {
        slowly(|| Backend::abandon(&self.0, claim)).await;
    }

    async fn watch(&self, claim: &Claim) -> Result<Watch> {
        slowly(|| Backend::watch(&self.0, claim)).await
    }
}

/// Polls a future at most so often, and drops it if it is not done by then.
pub fn poll_times<F: Future>(future: F, times: usize, mut before: impl FnMut(usize)) -> Option<F::Output> {
    let mut future: Pin<Box<F>> = Box::pin(future);
    for time in 0..times {
        before(time);
        if let Poll::Ready(done) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return Some(done);
        }
    }
    None
}
