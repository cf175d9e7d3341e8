//! A store as on a network: every request and every answer takes its time, a release is told to
//! whoever listens, and on demand nothing is answered.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use tenure_core::sync::{Mutex, MutexGuard, settle, thread};
use tenure_core::testing::Clock;
use tenure_core::{
    Attempt, Cause, Claim, Delivery, Denied, Error, Fence, Granted, Lease, Moment, Owner, Renewal, Result,
    Settings, Site, Watch,
};

use crate::take_part::draw;

#[derive(Clone)]
pub(crate) struct Store {
    shared: Arc<Shared>,
    /// The process that asks.
    pub(crate) site: Site,
    process: usize,
}

struct Shared {
    names: Mutex<BTreeMap<String, Entry>>,
    processes: Mutex<Vec<Site>>,
    kind: Kind,
    /// Nothing is carried out or answered.
    down: AtomicBool,
    /// Everything is carried out, and every other answer gets lost.
    doubtful: AtomicBool,
    renewed: AtomicUsize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Whoever waits is told of each release.
    Telling,
    /// As before, and core leaves the order of processes to the store.
    TellingInTurn,
    /// Whoever waits is queued, and handed the lock in the same step that makes it the holder.
    Queueing,
    /// As before, but the news travels: a claim may win by its own attempt before they arrive.
    QueueingAfar,
    /// Each process has one place in its queue, which an attempt of a claim that waits takes. The news
    /// travel as before.
    GivingPlaces,
}

impl Kind {
    fn queues(self) -> bool {
        matches!(self, Self::Queueing | Self::QueueingAfar | Self::GivingPlaces)
    }

    fn news_travel(self) -> bool {
        matches!(self, Self::QueueingAfar | Self::GivingPlaces)
    }

    /// A process in the host's time.
    fn site(self, lease: Duration) -> Site {
        match self {
            Self::GivingPlaces => Site::queued("model:", settings(lease)),
            _ => Site::new("model:", settings(lease)),
        }
    }
}

#[derive(Default)]
struct Entry {
    holder: Option<(Owner, Moment)>,
    fence: u64,
    queue: VecDeque<(Claim, Site)>,
    /// Who was handed the lock last.
    given: Option<Owner>,
}

/// What is kept of a grant. It may end anywhere but where its site or its engine is being changed.
pub(crate) struct Grant {
    site: Site,
    key: String,
}

impl Drop for Grant {
    fn drop(&mut self) {
        // Nobody's; it is the looking that counts.
        self.site.revoke(&self.key, Owner::random(), Cause::Superseded);
        let _ = self.site.waiting(&self.key);
    }
}

fn settings(lease: Duration) -> Settings {
    Settings::default().with_lease(lease).expect("a lease within the limits")
}

/// The leases of most models.
pub(crate) const LEASE: Duration = Duration::from_secs(1);

/// Longer than any model goes on.
pub(crate) const LONG: Duration = Duration::from_secs(3600);

impl Store {
    /// A store that tells of each release.
    pub(crate) fn new() -> Self {
        Self::new_with(LEASE, Kind::Telling)
    }

    /// One whose leases outlast the model: what is left behind stays.
    pub(crate) fn lasting() -> Self {
        Self::new_with(LONG, Kind::Telling)
    }

    /// One that tells processes in turn.
    pub(crate) fn telling_in_turn() -> Self {
        Self::new_with(LEASE, Kind::TellingInTurn)
    }

    /// A store that queues its waiters and hands the lock from one to the next.
    pub(crate) fn queueing() -> Self {
        Self::new_with(LONG, Kind::Queueing)
    }

    /// One from which the news of that travel.
    pub(crate) fn queueing_afar() -> Self {
        Self::new_with(LONG, Kind::QueueingAfar)
    }

    /// One in whose queue each process has a place.
    pub(crate) fn giving_places() -> Self {
        Self::new_with(LONG, Kind::GivingPlaces)
    }

    /// A store that tells of each release, in the time of a test's clock.
    pub(crate) fn on_clock(clock: &Clock) -> Self {
        Self::with(Site::on_clock("model:", settings(LEASE), clock), Kind::Telling)
    }

    fn new_with(lease: Duration, kind: Kind) -> Self {
        Self::with(kind.site(lease), kind)
    }

    fn with(site: Site, kind: Kind) -> Self {
        let shared = Arc::new(Shared {
            names: Mutex::default(),
            processes: Mutex::new(vec![site.clone()]),
            kind,
            down: AtomicBool::new(false),
            doubtful: AtomicBool::new(false),
            renewed: AtomicUsize::new(0),
        });
        Self { shared, site, process: 0 }
    }

    /// The same store in another process.
    pub(crate) fn elsewhere(&self) -> Self {
        let site = self.shared.kind.site(self.site.settings().lease().get());
        let mut processes = self.shared.processes.lock().unwrap();
        processes.push(site.clone());
        Self { shared: self.shared.clone(), site, process: processes.len() - 1 }
    }

    /// How many claims the store has in its queue.
    pub(crate) fn queued(&self, name: &str) -> usize {
        self.names().get(&key(name)).map_or(0, |entry| entry.queue.len())
    }

    pub(crate) fn set_down(&self, down: bool) {
        self.shared.down.store(down, SeqCst);
    }

    pub(crate) fn set_doubtful(&self, doubtful: bool) {
        self.shared.doubtful.store(doubtful, SeqCst);
    }

    /// How many renewals it was asked for.
    pub(crate) fn renewed(&self) -> usize {
        self.shared.renewed.load(SeqCst)
    }

    /// Forgets who holds a name.
    pub(crate) fn lose(&self, name: &str) {
        self.names().entry(key(name)).or_default().holder = None;
    }

    /// Tells the holder that it lost a name.
    pub(crate) fn revoke(&self, name: &str, cause: Cause) {
        let holder = self.names().entry(key(name)).or_default().holder.take();
        if let Some((owner, _)) = holder {
            self.site.revoke(&key(name), owner, cause);
        }
    }

    /// Until when a name is held if nobody renews it.
    pub(crate) fn kept_until(&self, name: &str) -> Option<Moment> {
        self.names().get(&key(name)).and_then(|entry| entry.holder).map(|(_, until)| until)
    }

    pub(crate) fn is_held(&self, name: &str) -> bool {
        let now = self.site.now();
        self.names().get(&key(name)).and_then(|entry| entry.holder).is_some_and(|(_, until)| until > now)
    }

    /// How many of this process stand in line.
    pub(crate) fn waiting(&self, name: &str) -> usize {
        self.site.waiting(&key(name))
    }

    /// Once all is quiet, nobody waits and the lock is free.
    pub(crate) fn nothing_is_left(&self, name: &str) {
        settle();
        for site in &*self.shared.processes.lock().unwrap() {
            assert_eq!(site.waiting(&key(name)), 0, "somebody still stands in line");
        }
        assert!(!self.is_held(name), "somebody still holds it");
        assert_eq!(self.queued(name), 0, "somebody is queued");
    }

    fn names(&self) -> MutexGuard<'_, BTreeMap<String, Entry>> {
        self.shared.names.lock().unwrap()
    }

    fn answer<T>(&self, claim: &Claim, carry_out: impl FnOnce(&mut Entry, Moment) -> Result<T>) -> Result<T> {
        if self.shared.down.load(SeqCst) {
            return Err(Error::unavailable("the store is down"));
        }
        let now = self.site.now();
        let answer = carry_out(self.names().entry(claim.key().into()).or_default(), now);
        if self.shared.doubtful.load(SeqCst) && draw(2) == 0 {
            return Err(Error::unavailable("the answer got lost"));
        }
        answer
    }

    pub(crate) fn acquire(&self, claim: &Claim) -> Result<Attempt<Grant>> {
        let places = self.shared.kind == Kind::GivingPlaces;
        self.answer(claim, |entry, now| {
            if places {
                self.hand_on(entry, now, Some(claim.owner()));
            }
            if let Some((owner, until)) = entry.holder.filter(|(_, until)| *until > now)
                && owner != claim.owner()
            {
                let denied = Denied::new().holder(Fence::new(entry.fence)).retry_after(until.since(now));
                if places && claim.waits() {
                    entry.enqueue(claim, &self.site);
                    return Ok(Attempt::Denied(denied.queued()));
                }
                return Ok(Attempt::Denied(denied));
            }
            entry.queue.retain(|(queued, _)| queued.owner() != claim.owner());
            Ok(Attempt::Granted(entry.grant(claim, &self.site, now)))
        })
    }

    pub(crate) fn extend(&self, due: Renewal<'_, Grant>) -> Result<()> {
        self.shared.renewed.fetch_add(1, SeqCst);
        self.answer(due.claim(), |entry, now| match &mut entry.holder {
            Some((owner, until)) if *owner == due.claim().owner() && *until > now => {
                *until = now + due.ttl();
                Ok(())
            }
            _ => Err(Error::lost(Cause::Superseded)),
        })
    }

    pub(crate) fn end(&self, claim: &Claim) -> Result<()> {
        let answer = self.answer(claim, |entry, now| match entry.holder {
            Some((owner, until)) if owner == claim.owner() => {
                entry.holder = None;
                self.hand_on(entry, now, None);
                if until > now { Ok(()) } else { Err(Error::lost(Cause::Expired)) }
            }
            _ => Err(Error::lost(Cause::Superseded)),
        });
        self.tell(claim, true);
        answer
    }

    /// A thread gives up: it was not handed the lock, or it would use it.
    pub(crate) fn is_given_up(&self, claim: &Claim) {
        let given = self.names().entry(claim.key().into()).or_default().given;
        assert_ne!(given, Some(claim.owner()), "what it was handed got lost");
    }

    pub(crate) fn take_back(&self, claim: &Claim) {
        let now = self.site.now();
        let mut names = self.names();
        let entry = names.entry(claim.key().into()).or_default();
        entry.queue.retain(|(queued, _)| queued.owner() != claim.owner());
        if entry.holder.is_some_and(|(owner, _)| owner == claim.owner()) {
            entry.holder = None;
            self.hand_on(entry, now, None);
        }
        drop(names);
        self.tell(claim, false);
    }

    /// What the listeners of the processes hear of a release, wherever its answer is by then; the one
    /// that released comes last. Of what it takes back it hears nothing: core itself tells those who
    /// wait there.
    fn tell(&self, claim: &Claim, ours: bool) {
        if self.shared.kind.queues() {
            return;
        }
        let mut processes = self.shared.processes.lock().unwrap().clone();
        let own = processes.remove(self.process);
        processes.iter().chain(ours.then_some(&own)).for_each(|process| process.notify(claim.key()));
    }

    pub(crate) fn promise(&self, claim: &Claim) -> Watch {
        match self.shared.kind {
            Kind::Telling => return Watch::armed(()),
            Kind::TellingInTurn => return Watch::armed(()).in_turn(),
            Kind::GivingPlaces => return Watch::queued(()),
            Kind::Queueing | Kind::QueueingAfar => {}
        }
        let now = self.site.now();
        let mut names = self.names();
        let entry = names.entry(claim.key().into()).or_default();
        entry.enqueue(claim, &self.site);
        self.hand_on(entry, now, None);
        Watch::queued(())
    }

    /// Hands a free lock to the first in the queue that is still there; whoever asks serves itself.
    fn hand_on(&self, entry: &mut Entry, now: Moment, asks: Option<Owner>) {
        while entry.holder.is_none_or(|(_, until)| until <= now)
            && entry.queue.front().is_some_and(|(first, _)| Some(first.owner()) != asks)
            && let Some((claim, site)) = entry.queue.pop_front()
        {
            let granted = entry.grant(&claim, &site, now);
            if self.shared.kind.news_travel() {
                let store = self.clone();
                let listener = move || match site.deliver(claim.key(), claim.owner(), granted) {
                    Delivery::Gone => store.take_back(&claim),
                    _ => store.names().entry(claim.key().into()).or_default().given = Some(claim.owner()),
                };
                thread::Builder::new().name("listener".into()).spawn(listener).unwrap();
            } else {
                match site.deliver(claim.key(), claim.owner(), granted) {
                    Delivery::Gone => entry.holder = None,
                    delivery => {
                        assert_eq!(delivery, Delivery::Given, "no attempt can have come in between");
                        entry.given = Some(claim.owner());
                    }
                }
            }
        }
    }
}

impl Entry {
    /// Stands at the end of the queue, once.
    fn enqueue(&mut self, claim: &Claim, site: &Site) {
        if self.queue.iter().all(|(queued, _)| queued.owner() != claim.owner()) {
            self.queue.push_back((claim.clone(), site.clone()));
        }
    }

    fn grant(&mut self, claim: &Claim, site: &Site, now: Moment) -> Granted<Grant> {
        let owner = claim.owner();
        let ttl = claim.term().ttl().expect("no session is asked for").get();
        if self.holder.is_none_or(|(holder, until)| holder != owner || until <= now) {
            self.fence += 1;
        }
        self.holder = Some((owner, now + ttl));
        let grant = Grant { site: site.clone(), key: claim.key().into() };
        Granted::new(grant, Fence::new(self.fence), Lease::For(ttl)).since(now)
    }
}

fn key(name: &str) -> String {
    format!("lock:{name}")
}
