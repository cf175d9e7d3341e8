//! The background work of one store: renewals in batches, and what a caller left behind.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use super::Watched;

/// How long the thread of a lane waits for more work before it ends.
const LINGER: Duration = Duration::from_secs(20);

/// One store's background work, done in order by a thread that lives while there is some.
#[derive(Clone, Default)]
pub(crate) struct Lane(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    more: Condvar,
}

#[derive(Default)]
struct State {
    renewals: Vec<Arc<dyn Watched>>,
    chores: Vec<Chore>,
    /// The process that the thread runs in; another after a fork.
    pid: Option<u32>,
}

type Chore = Box<dyn FnOnce() + Send>;

impl Lane {
    /// Renews leases of the store, together with others that are due by the time it gets there.
    pub(crate) fn renew(&self, leases: Vec<Arc<dyn Watched>>) {
        self.add(|state| state.renewals.extend(leases));
    }

    /// Does a piece of work after the renewals that are due.
    pub(crate) fn run(&self, chore: impl FnOnce() + Send + 'static) {
        self.add(|state| state.chores.push(Box::new(chore)));
    }

    fn add(&self, add: impl FnOnce(&mut State)) {
        let pid = std::process::id();
        let mut state = self.0.lock();
        add(&mut state);
        if state.pid == Some(pid) {
            drop(state);
            self.0.more.notify_one();
            return;
        }
        state.pid = Some(pid);
        let shared = self.0.clone();
        if thread::Builder::new().name("tenure-store".into()).spawn(move || shared.work()).is_err() {
            // No thread to be had now. The work stays; whoever adds to it tries again.
            state.pid = None;
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        let mut state = self.lock();
        loop {
            let (renewals, chores) = (std::mem::take(&mut state.renewals), std::mem::take(&mut state.chores));
            if renewals.is_empty() && chores.is_empty() {
                let (again, waited) =
                    self.more.wait_timeout(state, LINGER).unwrap_or_else(PoisonError::into_inner);
                state = again;
                if waited.timed_out() && state.renewals.is_empty() && state.chores.is_empty() {
                    state.pid = None;
                    return;
                }
                continue;
            }
            drop(state);
            renew(renewals);
            for chore in chores {
                // A backend that panics ends its own work, not everybody's.
                drop(catch_unwind(AssertUnwindSafe(chore)));
            }
            state = self.lock();
        }
    }
}

/// Renews typed and erased leases of one store as a batch each.
fn renew(leases: Vec<Arc<dyn Watched>>) {
    let mut types: HashMap<TypeId, Vec<Arc<dyn Watched>>> = HashMap::new();
    for lease in leases {
        types.entry((&*lease as &dyn Any).type_id()).or_default().push(lease);
    }
    for batch in types.into_values() {
        if let Some(first) = batch.first().cloned() {
            drop(catch_unwind(AssertUnwindSafe(|| first.renew_batch(batch))));
        }
    }
}

impl fmt::Debug for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lane")
    }
}
