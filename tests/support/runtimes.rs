//! What can poll a future.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::thread;

use async_executor::Executor;
use tenure::aio::{Task, block_on};

#[derive(Clone, Copy, Debug)]
pub(crate) enum Runtime {
    /// A thread for each task, which does nothing but poll it.
    BlockOn,
    TokioThread,
    TokioThreads,
    /// An executor that has nothing to do with tokio, on two threads.
    Executor,
}

impl Runtime {
    pub(crate) const ALL: [Self; 4] = [Self::BlockOn, Self::TokioThread, Self::TokioThreads, Self::Executor];

    /// Runs tasks side by side, to their ends.
    pub(crate) fn run(self, tasks: Vec<Task>) {
        match self {
            Self::BlockOn => thread::scope(|scope| {
                for task in tasks {
                    scope.spawn(|| block_on(task));
                }
            }),
            Self::TokioThread => tokio(&mut tokio::runtime::Builder::new_current_thread(), tasks),
            Self::TokioThreads => {
                tokio(tokio::runtime::Builder::new_multi_thread().worker_threads(2), tasks);
            }
            Self::Executor => executor(tasks),
        }
    }
}

fn tokio(builder: &mut tokio::runtime::Builder, tasks: Vec<Task>) {
    builder.build().unwrap().block_on(async {
        let tasks: Vec<_> = tasks.into_iter().map(tokio::spawn).collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
}

fn executor(tasks: Vec<Task>) {
    let executor = Arc::new(Executor::new());
    let tasks: Vec<_> = tasks.into_iter().map(|task| executor.spawn(task)).collect();
    // Each thread polls whatever is ready, until the tasks that it waits for are done.
    let (first, second) = {
        let mut first = tasks;
        let second = first.split_off(first.len() / 2);
        (first, second)
    };
    thread::scope(|scope| {
        for tasks in [first, second] {
            let executor = executor.clone();
            scope.spawn(move || {
                block_on(executor.run(async {
                    for task in tasks {
                        task.await;
                    }
                }));
            });
        }
    });
}

/// Lets other tasks run.
pub(crate) async fn yield_now() {
    let mut yielded = false;
    poll_fn(|cx| match std::mem::replace(&mut yielded, true) {
        true => Poll::Ready(()),
        false => {
            cx.waker().wake_by_ref();
            Poll::Pending
        }
    })
    .await;
}
