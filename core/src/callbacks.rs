//! What holders want done when they lose a lock, on a thread of its own.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::PoisonError;

use crate::Cause;
use crate::sync::{Condvar, Mutex, MutexGuard, process_wide, thread};

/// Called once, with the cause.
pub(crate) type Callback = Box<dyn FnOnce(Cause) + Send>;

struct Queue {
    state: Mutex<State>,
    more: Condvar,
}

struct State {
    calls: VecDeque<(Callback, Cause)>,
    pid: Option<u32>,
}

process_wide! {
    static QUEUE: Queue = Queue::new();
}

/// Calls back in order, away from the caller's thread, which may be the one that renews.
pub(crate) fn call(callbacks: Vec<Callback>, cause: Cause) {
    if callbacks.is_empty() {
        return;
    }
    let pid = std::process::id();
    let mut state = QUEUE.lock();
    state.calls.extend(callbacks.into_iter().map(|callback| (callback, cause)));
    if state.pid != Some(pid) {
        let started = thread::Builder::new().name("tenure-lost".into()).spawn(|| QUEUE.run());
        if started.is_err() {
            // Late is worse than on the wrong thread.
            let calls = std::mem::take(&mut state.calls);
            drop(state);
            calls.into_iter().for_each(run);
            return;
        }
        state.pid = Some(pid);
    }
    drop(state);
    QUEUE.more.notify_one();
}

impl Queue {
    const fn new() -> Self {
        Self { state: Mutex::new(State { calls: VecDeque::new(), pid: None }), more: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        let mut state = self.lock();
        loop {
            let Some(next) = state.calls.pop_front() else {
                state = self.more.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            drop(state);
            run(next);
            state = self.lock();
        }
    }
}

fn run((callback, cause): (Callback, Cause)) {
    // A callback that panics ends itself only.
    drop(catch_unwind(AssertUnwindSafe(|| callback(cause))));
}
