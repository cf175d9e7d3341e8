//! The reference store that queues its waiters itself.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::panic::Location;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tenure_core::{
    AnyBackend, Attempt, Backend, Cause, Claim, Delivery, Denied, Error, Fence, Granted, Lease, Moment,
    Owner, Release, Renewal, Result, Settings, Site, Watch,
};

use super::Fault;

/// A small store in the memory of one process, which hands a released lock to its first waiter.
///
/// As [`Model`](super::Model) it keeps all the promises, or all but one.
#[derive(Clone)]
pub struct QueueModel {
    site: Site,
    names: Arc<Mutex<HashMap<String, Entry>>>,
    fault: Option<Fault>,
}

/// One name.
#[derive(Default)]
struct Entry {
    fence: u64,
    holder: Option<Holding>,
    /// Who waits, with the handle that each came through: that is where it listens.
    queue: VecDeque<(Claim, Site)>,
}

struct Holding {
    /// `None` while a released name stays taken for a time.
    owner: Option<Owner>,
    deadline: Option<Moment>,
    place: &'static Location<'static>,
}

impl QueueModel {
    /// Makes an empty store that keeps all promises.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { site: Site::direct("queue-model:", settings), names: Arc::default(), fault: None }
    }

    /// Makes an empty store with a fault, one that [is of a queue](Fault::is_of_queue).
    #[must_use]
    pub fn broken(settings: Settings, fault: Fault) -> Self {
        Self { fault: Some(fault), ..Self::new(settings) }
    }

    /// The same store under other settings.
    #[must_use]
    pub fn share_with_settings(&self, settings: Settings) -> Self {
        Self { site: Site::direct("queue-model:", settings), ..self.clone() }
    }

    fn has(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    fn names(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with_entry<T>(&self, claim: &Claim, act: impl FnOnce(&mut Entry) -> T) -> T {
        act(self.names().entry(claim.key().into()).or_default())
    }

    /// Hands a free name to the first waiter that is still there. Whoever gave up stays in the queue
    /// until its turn comes.
    fn hand_on(&self, entry: &mut Entry) {
        while entry.held().is_none() {
            let next = match self.fault {
                Some(Fault::ServesTheLastFirst) => entry.queue.pop_back(),
                Some(Fault::HandsOnToNobody) => None,
                _ => entry.queue.pop_front(),
            };
            let Some((claim, site)) = next else { return };
            let granted = entry.grant(&claim);
            // Within the mutex, so that the waiter's own attempts cannot cross.
            let delivery = site.deliver(claim.key(), claim.owner(), granted);
            if delivery == Delivery::Gone && !self.has(Fault::GrantsTheGone) {
                entry.holder = None;
            }
        }
    }
}

impl Entry {
    /// Whoever has the name now.
    fn held(&mut self) -> Option<&mut Holding> {
        let now = Moment::now();
        self.holder.as_mut().filter(|holding| holding.deadline.is_none_or(|deadline| now < deadline))
    }

    fn owned(&mut self, owner: Owner) -> Result<&mut Holding> {
        let held = self.held().filter(|holding| holding.owner == Some(owner));
        held.ok_or_else(|| Error::lost(Cause::Superseded))
    }

    fn grant(&mut self, claim: &Claim) -> Granted<()> {
        self.fence = Fence::next(Fence::new(self.fence), claim.floor(), 0).get();
        let now = Moment::now();
        let (lease, deadline) = life(claim);
        self.holder = Some(Holding { owner: Some(claim.owner()), deadline, place: claim.place() });
        Granted::new((), Fence::new(self.fence), lease).since(now)
    }
}

/// The lifetime of a grant, and when it ends.
fn life(claim: &Claim) -> (Lease, Option<Moment>) {
    let ttl = claim.term().ttl().map(|ttl| ttl.get());
    (ttl.map_or(Lease::Session, Lease::For), ttl.map(|ttl| Moment::now() + ttl))
}

impl Backend for QueueModel {
    type Grant = ();
    type Handle = Self;

    fn handle(&self) -> Self {
        self.clone()
    }

    fn site(&self) -> &Site {
        &self.site
    }

    fn try_acquire(&self, claim: &Claim) -> Result<Attempt<()>> {
        Ok(self.with_entry(claim, |entry| {
            // Those who wait come first.
            self.hand_on(entry);
            let fence = Fence::new(entry.fence);
            match entry.held() {
                None => {
                    entry.queue.retain(|(queued, _)| queued.owner() != claim.owner());
                    Attempt::Granted(entry.grant(claim))
                }
                // It was handed on to this very claim, or the answer got lost.
                Some(holding) if holding.owner == Some(claim.owner()) => {
                    let (lease, deadline) = life(claim);
                    holding.deadline = deadline;
                    Attempt::Granted(Granted::new((), fence, lease))
                }
                Some(holding) => {
                    let denied = Denied::new().holder(fence);
                    let hidden = holding.owner.is_none() || self.has(Fault::HidesThePlace);
                    let denied = if hidden { denied } else { denied.held_at(holding.place) };
                    let left = holding.deadline.map(|deadline| deadline.since(Moment::now()));
                    Attempt::Denied(left.map_or(denied, |left| denied.retry_after(left)))
                }
            }
        }))
    }

    fn renew(&self, due: Renewal<'_, ()>) -> Result<()> {
        self.with_entry(due.claim(), |entry| {
            let holding = entry.owned(due.claim().owner())?;
            if due.ttl() == Duration::MAX {
                return Ok(());
            }
            holding.deadline = Some(Moment::now() + due.ttl());
            // It may sleep until the end that it was told.
            if let Some((first, site)) = entry.queue.front().filter(|_| !self.has(Fault::ShortensInSilence)) {
                site.recheck(first.owner());
            }
            Ok(())
        })
    }

    fn release(&self, end: Release<'_, ()>) -> Result<()> {
        self.with_entry(end.claim(), |entry| {
            let holding = entry.owned(end.claim().owner())?;
            match end.keep() {
                Some(keep) => (holding.owner, holding.deadline) = (None, Some(Moment::now() + keep)),
                None => entry.holder = None,
            }
            self.hand_on(entry);
            Ok(())
        })
    }

    fn abandon(&self, claim: &Claim) {
        self.with_entry(claim, |entry| {
            if entry.owned(claim.owner()).is_ok() {
                entry.holder = None;
            }
            self.hand_on(entry);
        });
    }

    fn watch(&self, claim: &Claim) -> Result<Watch> {
        self.with_entry(claim, |entry| {
            if !entry.queue.iter().any(|(queued, _)| queued.owner() == claim.owner()) {
                entry.queue.push_back((claim.clone(), self.site.clone()));
            }
            self.hand_on(entry);
        });
        Ok(Watch::queued(()))
    }
}

impl From<QueueModel> for AnyBackend {
    fn from(model: QueueModel) -> Self {
        Self::new(model)
    }
}

impl fmt::Debug for QueueModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueueModel").field("fault", &self.fault).finish_non_exhaustive()
    }
}
