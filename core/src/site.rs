//! What all handles of one store share inside a process: identity, settings, waiting lines, and
//! which locks the process holds there.

use std::collections::HashMap;
use std::fmt;
use std::panic::Location;
use std::sync::{Arc, PoisonError, Weak};
use std::task::Waker;
use std::time::Duration;

use crate::aio::Task;
use crate::any::AnyGrant;
use crate::doubts::Doubts;
use crate::engine::{Engine, Key, Lane};
use crate::line::Line;
use crate::policy::Budget;
use crate::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use crate::sync::{Mutex, MutexGuard, process_wide};
use crate::testing::Clock;
use crate::time::Time;
use crate::waiter::Waiter;
use crate::{Breaking, Cause, Granted, Holder, Moment, Owner, Settings, observe};

/// What all handles of one store share inside a process.
///
/// A backend makes one when it connects, and its clones share it. A store reached under another
/// prefix or in another format is another site. Through it a backend tells core what it hears:
///
/// * [`notify`](Site::notify): this name may be free;
/// * [`deliver`](Site::deliver): this claim, which waits in the store's own queue, has the lock;
/// * [`revoke`](Site::revoke): this owner has lost the lock;
/// * [`doubt`](Site::doubt): the store may have forgotten who holds these.
#[derive(Clone)]
pub struct Site(Arc<Inner>);

struct Inner {
    id: u64,
    label: Arc<str>,
    settings: Settings,
    kind: Kind,
    time: Time,
    /// How many wait in `lines`, so that an uncontended acquire need not look.
    waiting: AtomicUsize,
    lines: Mutex<HashMap<Box<str>, Line>>,
    waiters: Mutex<HashMap<Owner, Arc<Waiter>>>,
    held: Mutex<HashMap<Box<str>, Vec<Listed>>>,
    doubts: Doubts,
    /// How often a lone waiter of this process asked for a key in a row.
    alone: Mutex<HashMap<Box<str>, Budget>>,
    lane: Lane,
}

/// Where waiters stand in line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// In one line for each process.
    Lines,
    /// In one line for each process, the first of which stands in the store's own queue.
    Queued,
    /// In the store, which is inside the process.
    Direct,
}

type Listed = Weak<dyn HeldHere>;

/// For how many keys it is counted how often they were asked for; then it begins anew.
const ALONE: usize = 1024;

/// A lock that this process holds, as its site knows it.
pub(crate) trait HeldHere: Send + Sync {
    fn owner(&self) -> Owner;
    fn place(&self) -> &'static Location<'static>;
    fn is_exclusive(&self) -> bool;
    fn is_believed(&self) -> bool;
    /// Ends belief; false if it had ended before.
    fn lose(&self, cause: Cause) -> bool;
    /// Begins to ask the store whether it has it still.
    fn doubt(&self);
    fn give_up(self: Arc<Self>) -> crate::Result<()>;
    fn give_up_polled(self: Arc<Self>) -> Task<crate::Result<()>>;
}

/// What became of a delivered grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Delivery {
    /// The waiter has it.
    Given,
    /// The claim won by its own attempt before; the grant is in use and must not be released.
    AlreadyWon,
    /// Nobody waits for it any more; the backend must pass it on or release it.
    Gone,
}

impl Site {
    /// A store that may be shared with other processes. `label` is its URL without a password.
    #[must_use]
    pub fn new(label: impl Into<Box<str>>, settings: Settings) -> Self {
        Self::with(label.into(), settings, Kind::Lines, Time::Host)
    }

    /// A store that processes share and that keeps a queue of waiters, in which each process has one
    /// place for a name: an attempt of a claim that [waits](crate::Claim::waits) takes it, as
    /// [`Denied::queued`](crate::Denied::queued) says, and grants are [delivered](Self::deliver).
    #[must_use]
    pub fn queued(label: impl Into<Box<str>>, settings: Settings) -> Self {
        Self::with(label.into(), settings, Kind::Queued, Time::Host)
    }

    /// A store inside this process that queues its waiters itself, in the order of their
    /// [`watch`](crate::Backend::watch) calls, and delivers every grant to them.
    #[must_use]
    pub fn direct(label: impl Into<Box<str>>, settings: Settings) -> Self {
        Self::with(label.into(), settings, Kind::Direct, Time::Host)
    }

    /// A store for tests, whose leases, renewals and waits happen in the time of a clock.
    #[must_use]
    pub fn on_clock(label: impl Into<Box<str>>, settings: Settings, clock: &Clock) -> Self {
        Self::with(label.into(), settings, Kind::Lines, Time::Test(clock.clone()))
    }

    fn with(label: Box<str>, settings: Settings, kind: Kind, time: Time) -> Self {
        process_wide! { static NEXT: AtomicU64 = AtomicU64::new(1); }
        observe::opened();
        let site = Self(Arc::new(Inner {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            label: label.into(),
            settings,
            kind,
            time,
            waiting: AtomicUsize::new(0),
            lines: Mutex::default(),
            waiters: Mutex::default(),
            held: Mutex::default(),
            doubts: Doubts::default(),
            alone: Mutex::default(),
            lane: Lane::default(),
        }));
        if kind != Kind::Direct {
            let mut sites = all_sites();
            sites.retain(|site| site.strong_count() > 0);
            sites.push(Arc::downgrade(&site.0));
        }
        site
    }

    /// The store's URL without a password, for messages.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.0.label
    }

    /// The settings that the store gives to its locks.
    #[inline]
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.0.settings
    }

    /// The moment now, in the time that the store lives in.
    #[inline]
    #[must_use]
    pub fn now(&self) -> Moment {
        self.0.time.now()
    }

    /// Says that the lock with this key may be free. Cheap and harmless when it is not, or when
    /// nobody waits.
    pub fn notify(&self, key: &str) {
        self.tell_first(key, Line::notify_first);
    }

    /// Says that this process has released the lock with this key.
    pub(crate) fn released(&self, key: &str) {
        self.tell_first(key, Line::release_to_first);
    }

    fn tell_first(&self, key: &str, tell: impl FnOnce(&Line)) {
        // What this process itself holds is not free; its own release will tell.
        if self.0.waiting.load(Ordering::SeqCst) > 0
            && self.holding(key).is_none()
            && let Some(line) = lock(&self.0.lines).get(key)
        {
            tell(line);
        }
    }

    /// Says that any lock may be free, as after a lost connection to the store's notifications.
    pub fn notify_all(&self) {
        for line in lock(&self.0.lines).values_mut() {
            line.notify_first();
        }
    }

    /// Hands a grant to the claim that waits for it in the store's queue.
    ///
    /// A backend that is its own queue calls this in the same critical section in which it made
    /// the claim the owner, so that the claim's own attempts and the delivery cannot cross.
    pub fn deliver<G: Send + Sync + 'static>(
        &self,
        key: &str,
        owner: Owner,
        granted: Granted<G>,
    ) -> Delivery {
        let waiter = lock(&self.0.waiters).get(&owner).cloned();
        let gone = match waiter {
            None => true,
            Some(waiter) => waiter.give(granted.map(AnyGrant::new)).is_err(),
        };
        match gone {
            false => Delivery::Given,
            true if self.find_held(key, owner).is_some() => Delivery::AlreadyWon,
            true => Delivery::Gone,
        }
    }

    /// Tells a claim that waits in the store's own queue to ask again, as after a change of the
    /// lease that it waits for.
    pub fn recheck(&self, owner: Owner) {
        let waiter = lock(&self.0.waiters).get(&owner).cloned();
        if let Some(waiter) = waiter {
            waiter.notify();
        }
    }

    /// Says that an owner has lost its lock, where the store pushes such news.
    pub fn revoke(&self, key: &str, owner: Owner, cause: Cause) {
        if let Some(lease) = self.find_held(key, owner) {
            lease.lose(cause);
        }
    }

    /// Says that the store may have forgotten the grants of these keys, as after a fail-over: what is
    /// held of them is [`Unknown`](crate::Status::Unknown) until a renewal that begins after this has
    /// verified it, and what is renewed anyway is renewed at once. An answer that is under way meanwhile,
    /// to a renewal or to an attempt, counts as one from before.
    ///
    /// So it must be called once no new request goes to where the store may have forgotten them. `which`
    /// is called under mutexes of the site, now and for grants that arrive later: it has to be quick, and
    /// must not call the site.
    pub fn doubt(&self, which: impl Fn(&str) -> bool + Send + Sync + 'static) {
        let which = Arc::new(which);
        // Before what is held is looked at: whoever is listed only then looks here.
        self.0.doubts.add(self.now(), which.clone());
        let held = lock(&self.0.held);
        let doubtful = held.iter().filter(|(key, _)| which(key)).flat_map(|(_, leases)| leases);
        let doubtful: Vec<_> = doubtful.filter_map(Weak::upgrade).collect();
        drop(held);
        doubtful.iter().for_each(|lease| lease.doubt());
    }

    /// Whether a grant of a key that was asked for at `sent` is in doubt since.
    pub(crate) fn doubts(&self, key: &str, sent: Moment) -> bool {
        self.0.doubts.concern(key, sent)
    }

    /// Says that this process has taken a lock from its holder, for those who
    /// [observe](crate::observe) it; `holder` is the one who had it.
    pub fn force_released(&self, holder: &Holder, breaking: Breaking, reason: &str) {
        observe::force_released(self, holder, breaking, reason);
    }

    /// How many waiters of this process stand in line for a key.
    #[must_use]
    pub fn waiting(&self, key: &str) -> usize {
        lock(&self.0.lines).get(key).map_or(0, Line::len)
    }

    #[cfg(feature = "metrics")]
    pub(crate) fn shared_label(&self) -> Arc<str> {
        self.0.label.clone()
    }

    pub(crate) fn id(&self) -> u64 {
        self.0.id
    }

    #[inline]
    pub(crate) fn is_direct(&self) -> bool {
        self.0.kind == Kind::Direct
    }

    /// Whether the first in each process's line stands in the store's own queue.
    pub(crate) fn is_queued(&self) -> bool {
        self.0.kind == Kind::Queued
    }

    pub(crate) fn lane(&self) -> &Lane {
        &self.0.lane
    }

    #[inline]
    pub(crate) fn engine(&self) -> &Engine {
        self.0.time.engine()
    }

    /// Wakes a task at a moment.
    pub(crate) fn wake_at(&self, moment: Moment, task: &Waker) -> Key {
        self.0.time.wake_at(moment, task)
    }

    /// Puts this thread to sleep until a moment, or until it is unparked.
    pub(crate) fn park_until(&self, until: Moment) {
        self.0.time.park_until(until);
    }

    /// Does a piece of work in the background, and again after the time that it returns.
    pub(crate) fn run_later(&self, chore: impl FnMut() -> Option<Duration> + Send + 'static) {
        self.0.time.run_later(&self.0.lane, chore);
    }

    /// Whether waiters of this process stand in line for a key.
    pub(crate) fn has_line(&self, key: &str) -> bool {
        self.0.waiting.load(Ordering::Relaxed) > 0 && lock(&self.0.lines).contains_key(key)
    }

    /// A thread of this process asks for a key without standing in a line. True if it did so so
    /// often that it should see whether others wait.
    pub(crate) fn asks_alone(&self, key: &str) -> bool {
        let mut alone = lock(&self.0.alone);
        if let Some(budget) = alone.get_mut(key) {
            return budget.won();
        }
        if alone.len() >= ALONE {
            alone.clear();
        }
        alone.insert(key.into(), Budget::default());
        false
    }

    /// Makes a waiter known to `deliver`.
    pub(crate) fn admit(&self, waiter: &Arc<Waiter>) {
        lock(&self.0.waiters).insert(waiter.owner(), waiter.clone());
    }

    pub(crate) fn dismiss(&self, waiter: &Waiter) {
        lock(&self.0.waiters).remove(&waiter.owner());
    }

    /// Puts a waiter at the end of the line for a key; true if it is the first.
    pub(crate) fn join_line(&self, key: &str, waiter: &Arc<Waiter>) -> bool {
        self.0.waiting.fetch_add(1, Ordering::SeqCst);
        let mut lines = lock(&self.0.lines);
        match lines.get_mut(key) {
            Some(line) => line.join(waiter.clone()),
            None => lines.entry(key.into()).or_default().join(waiter.clone()),
        }
    }

    /// Runs `act` on the line of a key, if there is one, and takes the line away once it is empty.
    pub(crate) fn in_line<T>(&self, key: &str, act: impl FnOnce(&mut Line) -> T) -> Option<T> {
        let mut lines = lock(&self.0.lines);
        let line = lines.get_mut(key)?;
        let before = line.len();
        let result = act(line);
        let after = line.len();
        let ended = if after == 0 { lines.remove(key) } else { None };
        drop(lines);
        self.0.waiting.fetch_sub(before - after, Ordering::SeqCst);
        // What the line was promised by the store ends outside the mutex.
        drop(ended);
        Some(result)
    }

    pub(crate) fn hold(&self, key: &str, lease: Listed) {
        let mut held = lock(&self.0.held);
        match held.get_mut(key) {
            Some(leases) => leases.push(lease),
            None => drop(held.insert(key.into(), vec![lease])),
        }
    }

    pub(crate) fn let_go(&self, key: &str, owner: Owner) {
        let mut held = lock(&self.0.held);
        if let Some(leases) = held.get_mut(key) {
            leases.retain(|lease| lease.upgrade().is_some_and(|lease| lease.owner() != owner));
            if leases.is_empty() {
                held.remove(key);
            }
        }
    }

    /// The place in this process that holds a key alone and still believes so.
    pub(crate) fn holding(&self, key: &str) -> Option<&'static Location<'static>> {
        let leases = self.leases(key);
        leases.iter().find(|lease| lease.is_exclusive() && lease.is_believed()).map(|lease| lease.place())
    }

    fn find_held(&self, key: &str, owner: Owner) -> Option<Arc<dyn HeldHere>> {
        self.leases(key).into_iter().find(|lease| lease.owner() == owner)
    }

    fn leases(&self, key: &str) -> Vec<Arc<dyn HeldHere>> {
        lock(&self.0.held).get(key).into_iter().flatten().filter_map(Weak::upgrade).collect()
    }
}

/// Every lock that this process holds outside of its own memory.
pub(crate) fn held_everywhere() -> Vec<Arc<dyn HeldHere>> {
    let sites: Vec<_> = all_sites().iter().filter_map(Weak::upgrade).collect();
    let held = |site: &Arc<Inner>| -> Vec<_> {
        lock(&site.held).values().flatten().filter_map(Weak::upgrade).collect()
    };
    sites.iter().flat_map(held).collect()
}

fn all_sites() -> MutexGuard<'static, Vec<Weak<Inner>>> {
    process_wide! { static SITES: Mutex<Vec<Weak<Inner>>> = Mutex::new(Vec::new()); }
    lock(&SITES)
}

fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Site").field("label", &self.0.label).finish_non_exhaustive()
    }
}
