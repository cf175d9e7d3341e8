//! Locks for asynchronous code: the same words as [`Lock`](crate::Lock), as futures.
//!
//! Tasks wait in one line with the threads of the process, and locks are renewed by the same
//! engine. No runtime is named here: whatever polls the futures will do, and a store brings what it
//! needs to work in the background ([`AsyncBackend::spawn`]).
//!
//! Every future can be dropped at any time. One that had begun to acquire leaves nothing behind, a
//! lock that is dropped is released in the background, and no `Drop` blocks.
//!
//! ```
//! # use tenure_core::{Held, Result, aio::{AsyncHandle, Lock}};
//! # async fn demo<B: AsyncHandle>(store: B) -> Result<()> {
//! let lock = Lock::new(&store, "nightly report");
//! let held = lock.acquire().await?;
//! held.guarded(write_report(&held)).await?;   // ends early, with an error, if the lock is lost
//! held.release().await?;
//! # Ok(())
//! # }
//!
//! async fn write_report<B: AsyncHandle>(proof: &Lock<B, Held>) {
//!     let fence = proof.fence();
//!     // Hand the fence to whatever the lock protects.
//! }
//! ```

mod acquire;
mod alarm;
mod all;
mod answer;
mod any;
mod backend;
mod capability;
mod default;
mod forward;
mod held;
mod lock;

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use crate::sync::thread;
use crate::waiter::with_thread_waker;

pub(crate) use alarm::Alarm;
pub use all::{LockAll, Members};
pub(crate) use answer::Answer;
pub use any::{AnyBackend, AnyInspect, AnyPermits, AnyRestore, AnySessions, AnyShared, Erase};
pub use backend::{AsyncBackend, AsyncHandle};
pub use capability::{AsyncInspect, AsyncRestore};
pub use default::{default_store, install, release_all};
pub(crate) use held::Data;
pub use lock::Lock;

/// Work that goes on by itself once it is handed to [`AsyncBackend::spawn`].
pub type Task<T = ()> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The result of a future that is expected to be done when it is first asked.
pub(crate) fn at_once<F: Future>(future: F) -> Option<F::Output> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => Some(done),
        Poll::Pending => None,
    }
}

/// Runs a future to its end on this thread, which sleeps meanwhile.
///
/// For tests, and for stores that bring threads of their own. A program that has a runtime uses that.
pub fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    loop {
        match with_thread_waker(|waker| future.as_mut().poll(&mut Context::from_waker(waker))) {
            Poll::Ready(done) => return done,
            Poll::Pending => thread::park(),
        }
    }
}
