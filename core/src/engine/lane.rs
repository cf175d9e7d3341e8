//! The background work of one store: renewals in batches, and what a caller left behind.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::Watched;
use crate::Moment;
use crate::sync::{Condvar, Mutex, MutexGuard, thread};

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
    chores: Vec<(Moment, Chore)>,
    /// The process that the thread runs in; another after a fork.
    pid: Option<u32>,
}

/// A piece of work, and after what time it wants to be tried again.
pub(crate) type Chore = Box<dyn FnMut() -> Option<Duration> + Send>;

impl Lane {
    /// Renews leases of the store, together with others that are due by the time it gets there.
    pub(crate) fn renew(&self, leases: Vec<Arc<dyn Watched>>) {
        self.add(|state| state.renewals.extend(leases));
    }

    /// Does a piece of work after the renewals that are due, and again after the time that it
    /// returns. Renewals that become due meanwhile come first.
    pub(crate) fn run(&self, chore: impl FnMut() -> Option<Duration> + Send + 'static) {
        self.add(|state| state.chores.push((Moment::now(), Box::new(chore))));
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
            let renewals = std::mem::take(&mut state.renewals);
            let now = Moment::now();
            let due = state.chores.iter().position(|(at, _)| *at <= now);
            let chore = due.map(|index| state.chores.swap_remove(index).1);
            if renewals.is_empty() && chore.is_none() {
                let next = state.chores.iter().map(|(at, _)| at.since(now)).min();
                let (again, waited) = self
                    .more
                    .wait_timeout(state, next.unwrap_or(LINGER))
                    .unwrap_or_else(PoisonError::into_inner);
                state = again;
                if waited.timed_out() && state.renewals.is_empty() && state.chores.is_empty() {
                    state.pid = None;
                    return;
                }
                continue;
            }
            drop(state);
            renew(renewals);
            // One at a time, so that no store that answers slowly keeps renewals waiting for all of
            // them. One that panics ends itself, not everybody.
            let again = chore.and_then(|mut chore| {
                let wanted = catch_unwind(AssertUnwindSafe(&mut chore)).unwrap_or_default();
                wanted.map(|pause| (Moment::now() + pause, chore))
            });
            state = self.lock();
            state.chores.extend(again);
        }
    }
}

/// Renews typed and erased leases of one store as a batch each.
pub(super) fn renew(leases: Vec<Arc<dyn Watched>>) {
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
