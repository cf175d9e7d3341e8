//! Work for tasks. What may make a thread wait is done by the threads of a pool; what may not is done
//! in place, which costs a tenth of that.

use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use tenure_core::{Error, Result};

/// How this thread treats what would make it wait.
struct Manners {
    /// It must not wait, as a thread of a runtime.
    hurried: Cell<bool>,
    /// It would have had to wait.
    refused: Cell<bool>,
    /// It works in the background, and may wait as long as it takes.
    background: Cell<bool>,
    /// Set by the task that it works for when that is gone.
    given_up: RefCell<Option<Arc<AtomicBool>>>,
}

thread_local! {
    static HERE: Manners = const {
        Manners {
            hurried: Cell::new(false),
            refused: Cell::new(false),
            background: Cell::new(false),
            given_up: RefCell::new(None),
        }
    };
}

/// Does `work` in this thread; `None` if something would have made it wait, in which case it has not
/// taken effect.
pub(crate) fn at_once<T>(work: impl FnOnce() -> T) -> Option<T> {
    let _after = After(|| HERE.with(|here| here.hurried.set(false)));
    HERE.with(|here| {
        here.hurried.set(true);
        here.refused.set(false);
    });
    let done = work();
    (!HERE.with(|here| here.refused.get())).then_some(done)
}

/// Does `work` in a thread of the pool. Work whose future is dropped before it has begun to change
/// anything changes nothing.
pub(crate) async fn in_pool<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    static PROCESS: OnceLock<u32> = OnceLock::new();
    let pid = std::process::id();
    if *PROCESS.get_or_init(|| pid) != pid {
        // A forked child inherits no thread of the pool, and no other thread that could be kept waiting.
        return work();
    }
    let given_up = Arc::new(AtomicBool::new(false));
    let flag = given_up.clone();
    let _after = After(move || flag.store(true, Ordering::SeqCst));
    blocking::unblock(move || {
        let _after = After(|| HERE.with(|here| drop(here.given_up.take())));
        HERE.with(|here| here.given_up.replace(Some(given_up)));
        work()
    })
    .await
}

/// Does `work` in a thread that may wait.
pub(crate) fn in_background<T>(work: impl FnOnce() -> T) -> T {
    let _after = After(|| HERE.with(|here| here.background.set(false)));
    HERE.with(|here| here.background.set(true));
    work()
}

/// Whether this thread works in the background and may wait.
pub(crate) fn is_background() -> bool {
    HERE.with(|here| here.background.get())
}

/// Called before anything that may take long.
///
/// # Errors
///
/// `Unavailable` in a thread that must not wait.
pub(crate) fn may_wait() -> Result<()> {
    let hurried = HERE.with(|here| here.hurried.get().then(|| here.refused.set(true)));
    hurried.map_or(Ok(()), |()| Err(Error::unavailable("this would make a task's thread wait").settled()))
}

/// Called inside a record, before anything is changed.
///
/// # Errors
///
/// `Unavailable` if the task that this thread works for is gone.
pub(crate) fn is_wanted() -> Result<()> {
    let gone = HERE
        .with(|here| here.given_up.borrow().as_ref().is_some_and(|given_up| given_up.load(Ordering::SeqCst)));
    match gone {
        true => Err(Error::unavailable("whoever asked does not wait for the answer any more").settled()),
        false => Ok(()),
    }
}

/// Does something when it is dropped, after a panic too.
struct After<F: FnMut()>(F);

impl<F: FnMut()> Drop for After<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}
