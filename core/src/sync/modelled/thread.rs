//! Threads.

use std::cell::Cell;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::time;
use super::token::Token;
pub use shuttle::thread::JoinHandle;

/// A thread that can be woken.
#[expect(missing_debug_implementations, reason = "only for models")]
pub struct Thread(Arc<Token>);

shuttle::thread_local! {
    static TOKEN: Arc<Token> = Arc::new(Token::new());
    /// Whether it is counted while it is at work.
    static COUNTED: Cell<bool> = Cell::new(false);
}

shuttle::lazy_static! {
    /// How many threads are at work, the model's first one aside.
    static ref AT_WORK: AtomicUsize = AtomicUsize::new(0);
}

impl Thread {
    /// Wakes it, or keeps it from sleeping next time.
    pub fn unpark(&self) {
        self.0.wake();
    }
}

/// This thread.
pub fn current() -> Thread {
    Thread(TOKEN.with(Arc::clone))
}

/// Sleeps until somebody wakes this thread, and never returns for another reason.
pub fn park() {
    TOKEN.with(Arc::clone).sleep();
}

/// Sleeps until somebody wakes this thread, or for a time.
pub fn park_timeout(time: Duration) {
    time::sleep(&TOKEN.with(Arc::clone), time);
}

/// Starts threads in the background: a schedule does not wait for their end.
#[derive(Debug, Default)]
pub struct Builder(String);

impl Builder {
    /// One without a name.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Names the thread, in the report of a deadlock.
    #[must_use]
    pub fn name(self, name: String) -> Self {
        Self(name)
    }

    /// Starts it.
    ///
    /// # Errors
    ///
    /// None.
    pub fn spawn(self, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
        AT_WORK.fetch_add(1, Ordering::SeqCst);
        // A task, unlike a thread, may be left behind.
        drop(shuttle::future::spawn(async move {
            shuttle::current::set_name_for_task(shuttle::current::me(), self.0);
            counted(work);
        }));
        Ok(())
    }
}

/// Starts a thread of the model, for whose end its schedule waits.
pub fn spawn<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    AT_WORK.fetch_add(1, Ordering::SeqCst);
    shuttle::thread::spawn(|| counted(work))
}

fn counted<T>(work: impl FnOnce() -> T) -> T {
    COUNTED.with(|counted| counted.set(true));
    let done = work();
    AT_WORK.fetch_sub(1, Ordering::SeqCst);
    done
}

/// For the model's first thread: waits until all others sleep or have ended.
pub fn settle() {
    while AT_WORK.load(Ordering::SeqCst) > 0 {
        shuttle::thread::yield_now();
    }
}

/// This thread goes to sleep; true if it is counted while it is at work.
pub(super) fn rests() -> bool {
    let counted = COUNTED.with(Cell::get);
    if counted {
        AT_WORK.fetch_sub(1, Ordering::SeqCst);
    }
    counted
}

/// A thread that is counted is woken.
pub(super) fn stirs() {
    AT_WORK.fetch_add(1, Ordering::SeqCst);
}
