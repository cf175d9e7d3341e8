//! Carrying the background work of tasks to its end, without a runtime: each piece waits for servers and
//! never keeps its thread, so one thread is enough.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Wake, Waker};
use std::thread;

use tenure_core::aio::Task;

/// The work of one store.
#[derive(Default)]
pub(super) struct Tasks(Mutex<Option<Local>>);

/// The thread of one process; a forked child starts its own.
struct Local {
    pid: u32,
    again: Sender<Arc<Running>>,
}

struct Running {
    task: Mutex<Option<Task>>,
    again: Sender<Arc<Self>>,
}

impl Tasks {
    /// Begins a task, and carries it to its end. Without a thread to be had it ends where it first waits.
    pub(super) fn spawn(&self, task: Task) {
        Arc::new(Running { task: Mutex::new(Some(task)), again: self.again() }).run();
    }

    fn again(&self) -> Sender<Arc<Running>> {
        let mut local = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let pid = std::process::id();
        if let Some(local) = local.as_ref().filter(|local| local.pid == pid) {
            return local.again.clone();
        }
        let (again, woken) = channel::<Arc<Running>>();
        let run = move || woken.into_iter().for_each(|running| running.run());
        if thread::Builder::new().name("tenure-redis-tasks".into()).spawn(run).is_ok() {
            *local = Some(Local { pid, again: again.clone() });
        }
        again
    }
}

impl Running {
    fn run(self: Arc<Self>) {
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(running) = task.as_mut() else { return };
        let waker = Waker::from(self.clone());
        let polled =
            catch_unwind(AssertUnwindSafe(|| running.as_mut().poll(&mut Context::from_waker(&waker))));
        // One that panics ends itself, not everybody.
        if polled.is_ok_and(|polled| polled.is_pending()) {
            return;
        }
        let done = task.take();
        drop(task);
        drop(done);
    }
}

impl Wake for Running {
    fn wake(self: Arc<Self>) {
        let again = self.again.clone();
        // If the thread is gone, nobody is left to go on.
        let _ = again.send(self);
    }
}
