//! The one way in which a thread sleeps here.

use std::future::poll_fn;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use super::thread;
use shuttle::sync::atomic::{AtomicBool, Ordering};

/// Lets one thread sleep until it is woken. A wake-up that comes first is kept.
pub(super) struct Token {
    woken: AtomicBool,
    /// Whom to wake. No schedule switches threads while it is locked.
    sleeper: Mutex<Option<Sleeper>>,
}

struct Sleeper {
    waker: Waker,
    counted: bool,
}

impl Token {
    pub(super) fn new() -> Self {
        Self { woken: AtomicBool::new(false), sleeper: Mutex::new(None) }
    }

    pub(super) fn sleep(&self) {
        shuttle::future::block_on(poll_fn(|cx| {
            if self.woken.swap(false, Ordering::SeqCst) {
                return Poll::Ready(());
            }
            self.sleeper()
                .get_or_insert_with(|| Sleeper { waker: cx.waker().clone(), counted: thread::rests() });
            Poll::Pending
        }));
    }

    pub(super) fn wake(&self) {
        self.woken.store(true, Ordering::SeqCst);
        let sleeper = self.sleeper().take();
        if let Some(Sleeper { waker, counted }) = sleeper {
            if counted {
                thread::stirs();
            }
            waker.wake();
        }
    }

    fn sleeper(&self) -> MutexGuard<'_, Option<Sleeper>> {
        self.sleeper.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
