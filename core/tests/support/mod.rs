//! A store in memory that counts what it is asked and fails on demand.
//!
//! It behaves like a network store: no queue of its own, and notifications only if told so.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tenure_core::{
    Attempt, Backend, Cause, Claim, Denied, Error, Fence, Granted, Lease, Moment, Owner, Release, Renewal,
    Result, Settings, Site, Watch,
};

#[derive(Clone)]
pub struct Fake(Arc<Inner>);

struct Inner {
    site: Site,
    locks: Arc<Mutex<HashMap<String, Row>>>,
    notifies: bool,
    pub down: AtomicBool,
    pub hung: AtomicBool,
    pub keeps: AtomicBool,
    pub awaited: AtomicBool,
    slow: Mutex<Duration>,
    pub calls: Calls,
    /// What happened to which key, in order; shared by stores that were made together.
    log: Log,
}

pub type Log = Arc<Mutex<Vec<String>>>;

#[derive(Default)]
pub struct Calls {
    pub acquire: AtomicUsize,
    pub renew: AtomicUsize,
    pub batches: AtomicUsize,
    pub release: AtomicUsize,
    pub abandon: AtomicUsize,
    pub looks: AtomicUsize,
    pub watch: AtomicUsize,
}

struct Row {
    owner: Option<Owner>,
    fence: u64,
    until: Moment,
}

impl Fake {
    pub fn new(notifies: bool, settings: Settings) -> Self {
        Self::labelled("fake:", notifies, settings, Log::default())
    }

    pub fn labelled(label: &str, notifies: bool, settings: Settings, log: Log) -> Self {
        Self::over(Arc::default(), label, notifies, settings, log)
    }

    /// The same store, opened once more under another label.
    pub fn again(&self, label: &str) -> Self {
        let Inner { site, locks, notifies, log, .. } = &*self.0;
        Self::over(locks.clone(), label, *notifies, site.settings().clone(), log.clone())
    }

    fn over(
        locks: Arc<Mutex<HashMap<String, Row>>>,
        label: &str,
        notifies: bool,
        settings: Settings,
        log: Log,
    ) -> Self {
        Self(Arc::new(Inner {
            site: Site::new(label, settings),
            locks,
            log,
            notifies,
            down: AtomicBool::new(false),
            hung: AtomicBool::new(false),
            keeps: AtomicBool::new(false),
            awaited: AtomicBool::new(false),
            slow: Mutex::default(),
            calls: Calls::default(),
        }))
    }

    pub fn calls(&self) -> &Calls {
        &self.0.calls
    }

    pub fn set_down(&self, down: bool) {
        self.0.down.store(down, Ordering::SeqCst);
    }

    /// Renewals block until it is taken back.
    pub fn set_hung(&self, hung: bool) {
        self.0.hung.store(hung, Ordering::SeqCst);
    }

    /// Releases go unanswered, and nothing else.
    pub fn set_keeping(&self, keeps: bool) {
        self.0.keeps.store(keeps, Ordering::SeqCst);
    }

    /// Answers to requests for a lock take this long.
    pub fn set_slow(&self, slow: Duration) {
        *self.0.slow.lock().unwrap() = slow;
    }

    /// Other processes wait for every name.
    pub fn set_awaited(&self, awaited: bool) {
        self.0.awaited.store(awaited, Ordering::SeqCst);
    }

    /// Forgets who holds a name, as a flushed server does.
    pub fn lose(&self, key: &str) {
        if let Some(row) = self.0.locks.lock().unwrap().get_mut(key) {
            row.owner = None;
        }
    }

    pub fn is_held(&self, key: &str) -> bool {
        self.0
            .locks
            .lock()
            .unwrap()
            .get(key)
            .is_some_and(|row| row.owner.is_some() && row.until > Moment::now())
    }

    fn write_down(&self, what: &str, claim: &Claim) {
        self.0.log.lock().unwrap().push(format!("{what} {}{}", self.0.site.label(), claim.name()));
    }

    fn answer(&self) -> Result<()> {
        match self.0.down.load(Ordering::SeqCst) {
            true => Err(Error::unavailable("the fake is down")),
            false => Ok(()),
        }
    }
}

impl Backend for Fake {
    type Grant = ();
    type Handle = Self;

    fn handle(&self) -> Self {
        self.clone()
    }

    fn site(&self) -> &Site {
        &self.0.site
    }

    fn try_acquire(&self, claim: &Claim) -> Result<Attempt<()>> {
        self.0.calls.acquire.fetch_add(1, Ordering::SeqCst);
        let slow = *self.0.slow.lock().unwrap();
        std::thread::sleep(slow);
        self.answer()?;
        let mut locks = self.0.locks.lock().unwrap();
        let row =
            locks.entry(claim.key().into()).or_insert(Row { owner: None, fence: 0, until: Moment::FAR });
        let now = Moment::now();
        if let Some(owner) = row.owner
            && owner != claim.owner()
            && row.until > now
        {
            return Ok(Attempt::Denied(
                Denied::new().retry_after(row.until.since(now)).holder(Fence::new(row.fence)),
            ));
        }
        let ttl = claim.term().ttl().unwrap().get();
        let again = row.owner == Some(claim.owner()) && row.until > now;
        (row.owner, row.until) = (Some(claim.owner()), now + ttl);
        row.fence += u64::from(!again);
        self.write_down("+", claim);
        Ok(Attempt::Granted(Granted::new((), Fence::new(row.fence), Lease::For(ttl))))
    }

    fn renew(&self, due: Renewal<'_, ()>) -> Result<()> {
        self.0.calls.renew.fetch_add(1, Ordering::SeqCst);
        while self.0.hung.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(1));
        }
        self.answer()?;
        let mut locks = self.0.locks.lock().unwrap();
        match locks.get_mut(due.claim().key()) {
            Some(row) if row.owner == Some(due.claim().owner()) && row.until > Moment::now() => {
                row.until = Moment::now() + due.ttl();
                Ok(())
            }
            _ => Err(Error::lost(Cause::Superseded)),
        }
    }

    fn renew_many(&self, due: &[Renewal<'_, ()>]) -> Vec<Result<()>> {
        self.0.calls.batches.fetch_add(1, Ordering::SeqCst);
        due.iter().map(|due| self.renew(*due)).collect()
    }

    fn release(&self, end: Release<'_, ()>) -> Result<()> {
        self.0.calls.release.fetch_add(1, Ordering::SeqCst);
        self.answer()?;
        if self.0.keeps.load(Ordering::SeqCst) {
            return Err(Error::unavailable("the fake does not answer releases"));
        }
        let mut locks = self.0.locks.lock().unwrap();
        match locks.get_mut(end.claim().key()) {
            Some(row) if row.owner == Some(end.claim().owner()) && row.until > Moment::now() => {
                row.owner = end.keep().map(|_| Owner::random());
                row.until = end.keep().map_or(row.until, |keep| Moment::now() + keep);
                self.write_down("-", end.claim());
                drop(locks);
                if self.0.notifies {
                    self.0.site.notify(end.claim().key());
                }
                Ok(())
            }
            _ => Err(Error::lost(Cause::Superseded)),
        }
    }

    fn abandon(&self, claim: &Claim) {
        self.0.calls.abandon.fetch_add(1, Ordering::SeqCst);
        let mut locks = self.0.locks.lock().unwrap();
        if let Some(row) = locks.get_mut(claim.key())
            && row.owner == Some(claim.owner())
        {
            row.owner = None;
            self.write_down("-", claim);
        }
    }

    fn is_awaited(&self, _: &Claim) -> bool {
        self.0.calls.looks.fetch_add(1, Ordering::SeqCst);
        self.0.awaited.load(Ordering::SeqCst)
    }

    fn watch(&self, _: &Claim) -> Result<Watch> {
        self.0.calls.watch.fetch_add(1, Ordering::SeqCst);
        Ok(if self.0.notifies { Watch::armed(()) } else { Watch::none() })
    }
}

/// What was written down since this was asked last.
pub fn happened(log: &Log) -> Vec<String> {
    std::mem::take(&mut *log.lock().unwrap())
}

pub fn settings(lease: Duration) -> Settings {
    Settings::default().with_lease(lease).unwrap()
}

pub fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let until = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < until, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}
