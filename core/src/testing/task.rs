//! Tasks that are polled by whoever wakes them, in order and in no other thread.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, TryLockError};
use std::task::{Context, Poll, Wake, Waker};

use crate::aio::Task;

/// Polls a task, and again each time when it is woken.
pub(super) fn start(task: Task) {
    Arc::new(Running { task: Mutex::new(Some(task)), again: AtomicBool::new(false) }).wake();
}

struct Running {
    task: Mutex<Option<Task>>,
    again: AtomicBool,
}

impl Wake for Running {
    fn wake(self: Arc<Self>) {
        self.again.store(true, Ordering::SeqCst);
        while self.again.load(Ordering::SeqCst) {
            let mut slot = match self.task.try_lock() {
                Ok(slot) => slot,
                Err(TryLockError::Poisoned(slot)) => slot.into_inner(),
                // It is being polled: by this thread further up, or by another, which will see the flag.
                Err(TryLockError::WouldBlock) => return,
            };
            self.again.store(false, Ordering::SeqCst);
            let waker = Waker::from(self.clone());
            if let Some(task) = &mut *slot
                && let Poll::Ready(()) = task.as_mut().poll(&mut Context::from_waker(&waker))
            {
                *slot = None;
            }
        }
    }
}
