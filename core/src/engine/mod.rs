//! The renewal engine: one timer thread per process for all leases, one lane per store.
//!
//! The timer thread only decides. What speaks to a store runs in that store's [`Lane`], so that one
//! store that hangs delays no other's renewals, and no lease outlives its deadline unnoticed.

mod heap;
mod lane;

use std::any::Any;
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, Weak};
use std::task::Waker;
use std::time::Duration;

use heap::Heap;
pub(crate) use heap::Key;
pub(crate) use lane::{Chore, Lane};

use crate::sync::{Condvar, Mutex, MutexGuard, process_wide, thread};
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

/// The timers of one time.
pub(crate) struct Engine {
    state: Mutex<State>,
    changed: Condvar,
    /// Whether a thread of its own does what is due; otherwise a test does.
    threaded: bool,
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
    /// Work of a test, to be done again.
    Chore(Chore),
}

process_wide! { static ENGINE: Engine = Engine::new(true); }

impl Engine {
    /// The engine of everything that lives in the host's time.
    pub(crate) fn of_the_process() -> &'static Self {
        &ENGINE
    }

    /// An engine that does nothing until it is told to.
    pub(crate) fn of_a_test() -> Self {
        Self::new(false)
    }

    const fn new(threaded: bool) -> Self {
        let state = State { timers: None, pid: None, wakes_at: Moment::FAR };
        Self { state: Mutex::new(state), changed: Condvar::new(), threaded }
    }

    /// Looks at a lease from `at` on. `pid` is this process's id, known to the caller.
    pub(crate) fn watch(&self, at: Moment, lease: Weak<dyn Watched>, pid: u32) -> Key {
        self.insert(at, Timer::Lease(lease), pid)
    }

    /// Wakes a task at `at`.
    pub(crate) fn wake(&self, at: Moment, task: Waker) -> Key {
        self.insert(at, Timer::Task(task), std::process::id())
    }

    /// Does work at `at`, and again as often as it wants.
    pub(crate) fn repeat(&self, at: Moment, chore: Chore) {
        self.insert(at, Timer::Chore(chore), std::process::id());
    }

    /// Looks at a lease at another moment.
    pub(crate) fn rewatch(&self, key: Key, at: Moment) {
        let mut state = self.lock();
        if state.timers.as_mut().is_some_and(|timers| timers.set(key, at)) {
            self.rouse(&mut state, at);
        }
    }

    /// Looks at a lease no more, or lets a task sleep on.
    pub(crate) fn unwatch(&self, key: Key) {
        let gone = self.lock().timers.as_mut().and_then(|timers| timers.remove(key));
        drop(gone);
    }

    /// When something is due next.
    pub(crate) fn first(&self) -> Option<Moment> {
        self.lock().timers.as_ref().and_then(Heap::first)
    }

    /// Does what is due at `now`, in this thread.
    pub(crate) fn fire(&self, now: Moment) {
        let due = Self::collect(&mut self.lock(), now);
        let renewals = due.do_all_but_renewals(self, now);
        by_store(renewals).into_values().for_each(lane::renew);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn insert(&self, at: Moment, timer: Timer, pid: u32) -> Key {
        let mut state = self.lock();
        if self.threaded && state.pid != Some(pid) {
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

    /// Wakes the timer thread only if it would sleep beyond `at`. One that was stopped just before it went to
    /// sleep does so for as long as it had meant to, beyond the moment that it had in mind.
    fn rouse(&self, state: &mut State, at: Moment) {
        if at < state.wakes_at || state.wakes_at <= Moment::now() {
            state.wakes_at = at;
            self.changed.notify_one();
        }
    }

    fn run(&self) {
        let mut state = self.lock();
        loop {
            let now = Moment::now();
            let due = Self::collect(&mut state, now);
            if !due.is_empty() {
                drop(state);
                send_to_lanes(due.do_all_but_renewals(self, now));
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
                Timer::Task(_) | Timer::Chore(_) => {
                    collected.others.extend(timers.remove(key));
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
    others: Vec<Timer>,
    renewals: Vec<Arc<dyn Watched>>,
    expired: Vec<Arc<dyn Watched>>,
    seen: Vec<Arc<dyn Watched>>,
}

impl Collected {
    fn is_empty(&self) -> bool {
        self.seen.is_empty() && self.others.is_empty()
    }

    /// Wakes tasks and tells of leases that have ended; returns what is to be renewed.
    fn do_all_but_renewals(self, engine: &Engine, now: Moment) -> Vec<Arc<dyn Watched>> {
        let Self { others, renewals, expired, seen } = self;
        for other in others {
            match other {
                Timer::Task(task) => task.wake(),
                Timer::Chore(mut chore) => {
                    if let Some(pause) = chore() {
                        engine.repeat(now + pause, chore);
                    }
                }
                Timer::Lease(_) => {}
            }
        }
        expired.iter().for_each(|lease| lease.expire());
        // Some may have been the last reference to a grant, which ends outside the mutex.
        drop(seen);
        renewals
    }
}

fn by_store(leases: Vec<Arc<dyn Watched>>) -> HashMap<u64, Vec<Arc<dyn Watched>>> {
    let mut stores: HashMap<u64, Vec<Arc<dyn Watched>>> = HashMap::new();
    for lease in leases {
        stores.entry(lease.site().id()).or_default().push(lease);
    }
    stores
}

/// Hands the due leases of each store to its lane, together.
fn send_to_lanes(due: Vec<Arc<dyn Watched>>) {
    for leases in by_store(due).into_values() {
        let Some(site) = leases.first().map(|lease| lease.site().clone()) else { continue };
        site.lane().renew(leases);
    }
}
