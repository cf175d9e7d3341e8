//! The fake store for asynchronous code: each request is carried out and answered only after a number
//! of polls, and what is dropped before that is not.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, mpsc};
use std::task::Poll;
use std::thread;

use tenure_core::aio::{AsyncBackend, Task, block_on};
use tenure_core::{Attempt, Backend, Claim, Release, Renewal, Result, Site, Watch};

use crate::support::Fake;

#[derive(Clone)]
pub struct AsyncFake(Arc<Inner>);

struct Inner {
    fake: Fake,
    polls: usize,
    drops_tasks: AtomicBool,
    has_ended: AtomicBool,
    spawned: AtomicUsize,
    in_order: AtomicBool,
}

impl AsyncFake {
    pub fn new(fake: Fake, polls: usize) -> Self {
        Self(Arc::new(Inner {
            fake,
            polls,
            drops_tasks: AtomicBool::new(false),
            has_ended: AtomicBool::new(false),
            spawned: AtomicUsize::new(0),
            in_order: AtomicBool::new(false),
        }))
    }

    pub fn fake(&self) -> &Fake {
        &self.0.fake
    }

    /// Tasks are dropped after one poll, as by a runtime that ends.
    pub fn drop_tasks(&self, drops: bool) {
        self.0.drops_tasks.store(drops, Ordering::SeqCst);
    }

    /// Tasks are dropped before they are polled, as by a runtime that has ended.
    pub fn end_runtime(&self, ended: bool) {
        self.0.has_ended.store(ended, Ordering::SeqCst);
    }

    /// How many tasks it was given.
    pub fn spawned(&self) -> usize {
        self.0.spawned.load(Ordering::SeqCst)
    }

    /// Tasks are carried out one after another, in the order in which they come.
    pub fn in_order(self) -> Self {
        self.0.in_order.store(true, Ordering::SeqCst);
        self
    }

    /// On the way to the store, or back.
    async fn way(&self) {
        let mut left = self.0.polls;
        poll_fn(|cx| {
            if left == 0 {
                return Poll::Ready(());
            }
            left -= 1;
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }

    async fn call<T>(&self, call: impl FnOnce(&Fake) -> T) -> T {
        self.way().await;
        let answer = call(&self.0.fake);
        self.way().await;
        answer
    }
}

impl AsyncBackend for AsyncFake {
    type Grant = ();
    type Handle = Self;

    fn handle(&self) -> Self {
        self.clone()
    }

    fn site(&self) -> &Site {
        self.0.fake.site()
    }

    async fn try_acquire(&self, claim: &Claim) -> Result<Attempt<()>> {
        self.call(|fake| fake.try_acquire(claim)).await
    }

    async fn renew(&self, due: Renewal<'_, ()>) -> Result<()> {
        self.call(|fake| fake.renew(due)).await
    }

    async fn renew_many(&self, due: &[Renewal<'_, ()>]) -> Vec<Result<()>> {
        self.call(|fake| fake.renew_many(due)).await
    }

    async fn release(&self, end: Release<'_, ()>) -> Result<()> {
        self.call(|fake| fake.release(end)).await
    }

    fn spawn(&self, mut task: Task) {
        static ORDERED: OnceLock<mpsc::Sender<Task>> = OnceLock::new();
        self.0.spawned.fetch_add(1, Ordering::SeqCst);
        if self.0.has_ended.load(Ordering::SeqCst) {
            return;
        }
        if self.0.in_order.load(Ordering::SeqCst) {
            let ordered = ORDERED.get_or_init(|| {
                let (send, tasks) = mpsc::channel();
                thread::spawn(move || tasks.into_iter().for_each(block_on));
                send
            });
            ordered.send(task).expect("the thread lives as long as the process");
            return;
        }
        let drops = self.0.drops_tasks.load(Ordering::SeqCst);
        thread::spawn(move || {
            block_on(async {
                if drops {
                    poll_fn(|cx| {
                        let _ = task.as_mut().poll(cx);
                        Poll::Ready(())
                    })
                    .await;
                } else {
                    task.await;
                }
            });
        });
    }

    async fn abandon(&self, claim: &Claim) {
        self.call(|fake| fake.abandon(claim)).await;
    }

    async fn watch(&self, claim: &Claim) -> Result<Watch> {
        self.call(|fake| fake.watch(claim)).await
    }
}
