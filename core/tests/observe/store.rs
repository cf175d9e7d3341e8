//! A store in the time of a clock that answers as it is told, to threads and to tasks.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tenure_core::aio::{self, AsyncBackend, AsyncRestore, Task};
use tenure_core::testing::Clock;
use tenure_core::{
    Attempt, Backend, Cause, Claim, Denied, Error, Fence, Granted, Held, Lease, Moment, Owner, Release,
    Renewal, Restore, Result, Settings, Site,
};

/// The store's label.
pub const LABEL: &str = "script:";

#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    site: Site,
    clock: Clock,
    rows: Mutex<HashMap<String, Row>>,
    script: Mutex<VecDeque<Answer>>,
    tasks: Mutex<Vec<Task>>,
}

struct Row {
    owner: Owner,
    fence: u64,
    until: Moment,
}

/// What the store does to one request.
pub enum Answer {
    /// As it should.
    Well,
    Fail(Error),
    Panic,
}

pub fn silence() -> Answer {
    Answer::Fail(Error::unavailable("no answer"))
}

impl Store {
    pub fn new(settings: Settings) -> Self {
        let clock = Clock::jumping();
        Self(Arc::new(Inner {
            site: Site::on_clock(LABEL, settings, &clock),
            clock,
            rows: Mutex::default(),
            script: Mutex::default(),
            tasks: Mutex::default(),
        }))
    }

    /// Says how to answer the next requests.
    pub fn script(&self, answers: impl IntoIterator<Item = Answer>) {
        self.0.script.lock().unwrap().extend(answers);
    }

    /// Another process has the lock for a time; with this fence.
    pub fn occupy(&self, name: &str, fence: u64, time: Duration) {
        let row = Row { owner: Owner::random(), fence, until: self.0.clock.now() + time };
        self.0.rows.lock().unwrap().insert(format!("lock:{name}"), row);
    }

    /// Time passes, and tasks run in it.
    pub fn pass(&self, time: Duration) {
        let until = self.0.clock.now() + time;
        while self.0.clock.now() < until {
            self.0.clock.advance(Duration::from_millis(1));
            let tasks = std::mem::take(&mut *self.0.tasks.lock().unwrap());
            tasks.into_iter().for_each(|task| self.run(task));
        }
    }

    /// Time passes until a future is done.
    pub fn drive<T>(&self, future: impl Future<Output = T>) -> T {
        let mut future = pin!(future);
        loop {
            if let Poll::Ready(done) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                return done;
            }
            self.pass(Duration::from_millis(1));
        }
    }

    fn run(&self, mut task: Task) {
        if task.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
            self.0.tasks.lock().unwrap().push(task);
        }
    }

    fn answer(&self) -> Result<()> {
        match self.0.script.lock().unwrap().pop_front() {
            None | Some(Answer::Well) => Ok(()),
            Some(Answer::Fail(error)) => Err(error),
            Some(Answer::Panic) => panic!("the store panics"),
        }
    }

    fn owned<T>(&self, claim: &Claim, act: impl FnOnce(&mut Row, Moment) -> T) -> Result<T> {
        self.answer()?;
        let now = self.0.clock.now();
        match self.0.rows.lock().unwrap().get_mut(claim.key()) {
            Some(row) if row.owner == claim.owner() && row.until > now => Ok(act(row, now)),
            _ => Err(Error::lost(Cause::Superseded)),
        }
    }
}

impl Backend for Store {
    type Grant = ();
    type Handle = Self;

    fn handle(&self) -> Self {
        self.clone()
    }

    fn site(&self) -> &Site {
        &self.0.site
    }

    fn try_acquire(&self, claim: &Claim) -> Result<Attempt<()>> {
        self.answer()?;
        let now = self.0.clock.now();
        let mut rows = self.0.rows.lock().unwrap();
        let before = rows.get(claim.key());
        if let Some(row) = before.filter(|row| row.owner != claim.owner() && row.until > now) {
            let denied = Denied::new().retry_after(row.until.since(now)).holder(Fence::new(row.fence));
            return Ok(Attempt::Denied(denied));
        }
        let (fence, ttl) = (before.map_or(1, |row| row.fence + 1), claim.term().ttl().unwrap().get());
        rows.insert(claim.key().into(), Row { owner: claim.owner(), fence, until: now + ttl });
        Ok(Attempt::Granted(Granted::new((), Fence::new(fence), Lease::For(ttl))))
    }

    fn renew(&self, due: Renewal<'_, ()>) -> Result<()> {
        self.owned(due.claim(), |row, now| row.until = now + due.ttl())
    }

    fn release(&self, end: Release<'_, ()>) -> Result<()> {
        self.owned(end.claim(), |row, now| row.until = now)
    }
}

impl Restore for Store {
    fn restore(&self, claim: &Claim) -> Result<Granted<()>> {
        let ttl = claim.term().ttl().unwrap().get();
        self.owned(claim, |row, _| Granted::new((), Fence::new(row.fence), Lease::For(ttl)))
    }
}

impl AsyncBackend for Store {
    type Grant = ();
    type Handle = Self;

    fn handle(&self) -> Self {
        self.clone()
    }

    fn site(&self) -> &Site {
        &self.0.site
    }

    async fn try_acquire(&self, claim: &Claim) -> Result<Attempt<()>> {
        Backend::try_acquire(self, claim)
    }

    async fn renew(&self, due: Renewal<'_, ()>) -> Result<()> {
        Backend::renew(self, due)
    }

    async fn release(&self, end: Release<'_, ()>) -> Result<()> {
        Backend::release(self, end)
    }

    fn spawn(&self, task: Task) {
        self.run(task);
    }
}

impl AsyncRestore for Store {
    async fn restore(&self, claim: &Claim) -> Result<Granted<()>> {
        Restore::restore(self, claim)
    }
}

/// Which kind of lock.
#[derive(Clone, Copy, Debug)]
pub enum Way {
    Blocks,
    Polled,
}

pub const WAYS: [Way; 2] = [Way::Blocks, Way::Polled];

/// A lock of either kind.
pub enum Lock {
    Blocks(tenure_core::Lock<Store>),
    Polled(aio::Lock<Store>),
}

/// A held lock of either kind.
pub enum Got {
    Blocks(tenure_core::Lock<Store, Held>),
    Polled(aio::Lock<Store, Held>, Store),
}

/// Calls the method of either kind.
macro_rules! either {
    ($lock:expr, |$inner:ident| $call:expr) => {
        match $lock {
            Lock::Blocks($inner) => $call.map(Got::Blocks),
            Lock::Polled($inner) => {
                let store = $inner.store();
                store.drive($call).map(|held| Got::Polled(held, store.clone()))
            }
        }
    };
}

impl Lock {
    pub fn new(store: &Store, way: Way, name: &str) -> Self {
        match way {
            Way::Blocks => Self::Blocks(tenure_core::Lock::new(store, name)),
            Way::Polled => Self::Polled(aio::Lock::new(store, name)),
        }
    }

    pub fn ttl(self, ttl: Duration) -> Self {
        match self {
            Self::Blocks(lock) => Self::Blocks(lock.ttl(ttl)),
            Self::Polled(lock) => Self::Polled(lock.ttl(ttl)),
        }
    }

    pub fn release_on_drop(self, release: bool) -> Self {
        match self {
            Self::Blocks(lock) => Self::Blocks(lock.release_on_drop(release)),
            Self::Polled(lock) => Self::Polled(lock.release_on_drop(release)),
        }
    }

    pub fn try_acquire(&self) -> Result<Got> {
        either!(self, |lock| lock.try_acquire())
    }

    pub fn acquire(&self) -> Result<Got> {
        either!(self, |lock| lock.acquire())
    }

    pub fn acquire_for(&self, limit: Duration) -> Result<Got> {
        either!(self, |lock| lock.acquire_for(limit))
    }

    pub fn restore(&self, owner: Owner) -> Result<Got> {
        either!(self, |lock| lock.restore(owner))
    }
}

impl Got {
    pub fn owner(&self) -> Owner {
        match self {
            Self::Blocks(held) => held.owner(),
            Self::Polled(held, _) => held.owner(),
        }
    }

    pub fn renew(&self) -> Result<()> {
        match self {
            Self::Blocks(held) => held.renew(),
            Self::Polled(held, store) => store.drive(held.renew()),
        }
    }

    pub fn release(self) -> Result<()> {
        match self {
            Self::Blocks(held) => held.release(),
            Self::Polled(held, store) => store.drive(held.release()),
        }
    }
}
