//! The renewal engine: one timer thread per process for all leases, one lane per store.
//!
//! The timer thread only decides. What speaks to a store runs in that store's [`Lane`], so that one
//! store that hangs delays no other's renewals, and no lease outlives its deadline unnoticed.

mod heap;
mod lane;

use std::any::Any;
use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Waker;
use std::thread;
use std::time::Duration;

use heap::Heap;
pub(crate) use heap::Key;
pub(crate) use lane::Lane;

use crate::{Moment, Site};

/// A lease that the engine watches.
pub(crate) trait Watched: Any + Send + Sync {
    fn site(&self) -> &Site;

    /// Its moment has come.
    fn due(&self, now: Moment) -> Due;

    /// Its deadline has passed unrenewed.
    fn expire(&self);

    /// Renews leases of one type and store together; `batch` starts with `self`.
    fn renew_batch(self: Arc<Self>, batch: Vec<Arc<dyn Watched>>);
}

/// What a lease wants when its moment has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// To be renewed now, and looked at again at the given moment if that has led to nothing.
    Renew(Moment),
    /// To be looked at later.
    At(Moment),
    /// Its deadline has passed; to be told so.
    Expired,
    /// Nothing any more.
    Over,
}

/// The longest sleep of the timer thread. Its clock stops while the machine is suspended; so soon
/// after waking up it finds what has expired meanwhile.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);

/// Renewals that are due within this time of each other go out together.
const TOGETHER: Duration = Duration::from_millis(20);

struct Engine {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    timers: Option<Heap<Timer>>,
    /// The process that the timer thread runs in; another after a fork.
    pid: Option<u32>,
    /// When the timer thread wakes up by itself.
    wakes_at: Moment,
}

enum Timer {
    Lease(Weak<dyn Watched>),
    /// A task that sleeps.
    Task(Waker),
}

static ENGINE: Engine = Engine {
    state: Mutex::new(State { timers: None, pid: None, wakes_at: Moment::FAR }),
    changed: Condvar::new(),
};

/// Looks at a lease from `at` on. `pid` is this process's id, known to the caller.
pub(crate) fn watch(at: Moment, lease: Weak<dyn Watched>, pid: u32) -> Key {
    ENGINE.insert(at, Timer::Lease(lease), pid)
}

/// Wakes a task at `at`.
pub(crate) fn wake(at: Moment, task: Waker) -> Key {
    ENGINE.insert(at, Timer::Task(task), std::process::id())
}

/// Looks at a lease at another moment.
pub(crate) fn rewatch(key: Key, at: Moment) {
    let mut state = ENGINE.lock();
    if state.timers.as_mut().is_some_and(|timers| timers.set(key, at)) {
        ENGINE.rouse(&mut state, at);
    }
}

/// Looks at a lease no more, or lets a task sleep on.
pub(crate) fn unwatch(key: Key) {
    let gone = ENGINE.lock().timers.as_mut().and_then(|timers| timers.remove(key));
    drop(gone);
}

impl Engine {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn insert(&self, at: Moment, timer: Timer, pid: u32) -> Key {
        let mut state = self.lock();
        if state.pid != Some(pid) {
            // The first timer of the process. A forked child inherits neither thread nor duties.
            state.pid = Some(pid);
            state.timers = None;
            state.wakes_at = Moment::FAR;
            let started = thread::Builder::new().name("tenure-renew".into()).spawn(|| ENGINE.run());
            if started.is_err() {
                // Without threads nothing is renewed; leases end at their deadlines, and say so. The
                // next timer tries again.
                state.pid = None;
            }
        }
        let key = state.timers.get_or_insert_default().insert(at, timer);
        self.rouse(&mut state, at);
        key
    }

    /// Wakes the timer thread only if it would sleep beyond `at`.
    fn rouse(&self, state: &mut State, at: Moment) {
        if at < state.wakes_at {
            state.wakes_at = at;
            self.changed.notify_one();
        }
    }

    fn run(&self) {
        let mut state = self.lock();
        loop {
            let now = Moment::now();
            let due = Self::collect(&mut state, now);
            if !due.seen.is_empty() || !due.tasks.is_empty() {
                drop(state);
                due.tasks.into_iter().for_each(Waker::wake);
                due.expired.iter().for_each(|lease| lease.expire());
                send_to_lanes(due.renewals);
                // Some may have been the last reference to a grant, which ends outside the mutex.
                drop(due.seen);
                state = self.lock();
                continue;
            }
            let first = state.timers.as_ref().and_then(Heap::first);
            let wakes_at = first.map_or(Moment::FAR, |first| first.min(now + LONGEST_SLEEP));
            state.wakes_at = wakes_at;
            state = if first.is_none() {
                self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
            } else {
                let sleep = wakes_at.since(now);
                self.changed.wait_timeout(state, sleep).unwrap_or_else(PoisonError::into_inner).0
            };
        }
    }

    /// Takes what is due and sets each lease's next moment. Renewals that are due soon go with one
    /// that is due now.
    fn collect(state: &mut State, now: Moment) -> Collected {
        let mut collected = Collected::default();
        let Some(timers) = &mut state.timers else { return collected };
        let later = |next: Moment| next.max(now + Duration::from_millis(1));
        while let Some((key, timer)) = timers.due(now) {
            let lease = match timer {
                Timer::Lease(lease) => lease.upgrade(),
                Timer::Task(_) => {
                    if let Some(Timer::Task(task)) = timers.remove(key) {
                        collected.tasks.push(task);
                    }
                    continue;
                }
            };
            match lease.as_ref().map_or(Due::Over, |lease| lease.due(now)) {
                Due::Renew(next) => {
                    timers.set(key, later(next));
                    collected.renewals.extend(lease.clone());
                }
                Due::At(next) => drop(timers.set(key, later(next))),
                Due::Expired => {
                    timers.remove(key);
                    collected.expired.extend(lease.clone());
                }
                Due::Over => drop(timers.remove(key)),
            }
            collected.seen.extend(lease);
        }
        let soon = now + TOGETHER;
        while !collected.renewals.is_empty()
            && let Some((key, Timer::Lease(lease))) = timers.due(soon)
            && let Some(lease) = lease.upgrade()
        {
            let Due::Renew(next) = lease.due(soon) else { break };
            timers.set(key, next.max(soon + Duration::from_millis(1)));
            collected.renewals.push(lease.clone());
            collected.seen.push(lease);
        }
        collected
    }
}

#[derive(Default)]
struct Collected {
    tasks: Vec<Waker>,
    renewals: Vec<Arc<dyn Watched>>,
    expired: Vec<Arc<dyn Watched>>,
    seen: Vec<Arc<dyn Watched>>,
}

/// Hands the due leases of each store to its lane, together.
fn send_to_lanes(due: Vec<Arc<dyn Watched>>) {
    let mut stores: HashMap<u64, Vec<Arc<dyn Watched>>> = HashMap::new();
    for lease in due {
        stores.entry(lease.site().id()).or_default().push(lease);
    }
    for leases in stores.into_values() {
        let Some(site) = leases.first().map(|lease| lease.site().clone()) else { continue };
        site.lane().renew(leases);
    }
}
