//! One name: who holds it, and who waits for it, in order.

use std::collections::VecDeque;
use std::panic::Location;
use std::sync::PoisonError;
use std::time::{Duration, SystemTime};

use tenure_core::{
    Claim, Delivery, Denied, Fence, Granted, Lease, Moment, Owner, Site, Term, wall_coarse, wall_micros,
};

use crate::sync::{Mutex, MutexGuard};

use std::sync::atomic::{AtomicU64, Ordering};

/// One name of a store.
pub(crate) struct Entry {
    key: Box<str>,
    state: Mutex<State>,
}

/// What is known of a name.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) holder: Option<Holding>,
    /// With the handle of the store that each came through: that is where it listens.
    queue: VecDeque<(Claim, Site)>,
    /// Whose lock was opened by force last, while it may still have believed in it.
    evicted: Option<Owner>,
}

/// Who holds a name.
pub(crate) struct Holding {
    /// `None` while a released name is kept closed for a time.
    pub(crate) owner: Option<Owner>,
    pub(crate) fence: Fence,
    /// `None` for a lock without a lease.
    pub(crate) deadline: Option<Moment>,
    pub(crate) place: &'static Location<'static>,
    pub(crate) label: Option<Box<str>>,
    pub(crate) since: SystemTime,
    /// The handle of the store that it came through, where it hears of a loss; `None` for the
    /// store's first one.
    pub(crate) site: Option<Site>,
    /// Why it was force-released, until the holder has let go.
    pub(crate) breaking: Option<Box<str>>,
}

impl Entry {
    pub(crate) fn new(key: &str) -> Self {
        Self { key: key.into(), state: Mutex::default() }
    }

    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    #[inline]
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_in_use(&self) -> bool {
        let state = self.lock();
        state.holder.as_ref().is_some_and(|holder| holder.is_live(Moment::now())) || !state.queue.is_empty()
    }

    /// Hands a free name to the first waiter that is still there. Who is the first after that is told
    /// when the name has an end now that it may not know of.
    #[inline]
    pub(crate) fn hand_on(&self, state: &mut State) {
        if !state.queue.is_empty() {
            self.hand_to_first(state);
        }
    }

    fn hand_to_first(&self, state: &mut State) {
        while state.holder.is_none() {
            let Some((next, site)) = state.queue.pop_front() else { return };
            let granted = state.grant(&next, Some(&site));
            // Still inside the entry's mutex, so that the waiter's own attempts cannot cross.
            if site.deliver(&self.key, next.owner(), granted) == Delivery::Gone {
                state.holder = None;
            }
        }
        state.tell_first_of_end();
    }
}

impl State {
    /// Grants a free name, or again what the claim has already.
    pub(crate) fn try_acquire(
        &mut self,
        claim: &Claim,
        entry: &Entry,
        site: Option<&Site>,
    ) -> Result<Granted<()>, Denied> {
        if let Some(holder) = &self.holder {
            let now = Moment::now();
            if holder.is_live(now) {
                return if holder.owner == Some(claim.owner()) && holder.breaking.is_none() {
                    Ok(self.adopt(claim).expect("it has the name"))
                } else {
                    Err(holder.denial(now))
                };
            }
            self.holder = None;
        }
        match self.queue.front() {
            None => Ok(self.grant(claim, site)),
            Some((first, _)) if first.owner() == claim.owner() => {
                self.queue.pop_front();
                let granted = self.grant(claim, site);
                self.tell_first_of_end();
                Ok(granted)
            }
            // Its lease has run out; those who wait come first.
            Some(_) => {
                entry.hand_on(self);
                match &self.holder {
                    Some(holder) => Err(holder.denial(Moment::now())),
                    None => Ok(self.grant(claim, site)),
                }
            }
        }
    }

    /// Gives a claim what its owner has, with a new life.
    pub(crate) fn adopt(&mut self, claim: &Claim) -> Option<Granted<()>> {
        let (lease, deadline) = life(claim.term(), claim.is_detached());
        let holder = self.owned(claim.owner())?;
        holder.deadline = deadline;
        Some(Granted::new((), holder.fence, lease))
    }

    /// The live holder, if it is this owner and was not broken.
    #[inline]
    pub(crate) fn owned(&mut self, owner: Owner) -> Option<&mut Holding> {
        self.holder
            .as_mut()
            .filter(|holder| holder.owner == Some(owner) && holder.breaking.is_none())
            .filter(|holder| holder.deadline.is_none_or(|deadline| deadline > Moment::now()))
    }

    /// Whether this owner lost the name by force.
    pub(crate) fn was_forced(&self, owner: Owner) -> bool {
        let breaking = |holder: &Holding| holder.owner == Some(owner) && holder.breaking.is_some();
        self.evicted == Some(owner) || self.holder.as_ref().is_some_and(breaking)
    }

    /// Takes the name from this owner, whatever its state; what remains if it is kept closed.
    #[inline]
    pub(crate) fn vacate(&mut self, owner: Owner, keep: Option<Duration>) {
        let Some(holder) = self.holder.as_mut().filter(|holder| holder.owner == Some(owner)) else { return };
        match keep.filter(|_| holder.breaking.is_none()) {
            Some(keep) => (holder.owner, holder.deadline) = (None, Some(Moment::now() + keep)),
            None => self.holder = None,
        }
    }

    /// Takes the name from whoever has it, now.
    pub(crate) fn evict(&mut self) {
        self.evicted = self.holder.take().and_then(|holder| holder.owner);
    }

    /// Stands at the end of the queue, once.
    pub(crate) fn queue(&mut self, claim: &Claim, site: &Site) {
        if !self.queue.iter().any(|(queued, _)| queued.owner() == claim.owner()) {
            self.queue.push_back((claim.clone(), site.clone()));
        }
    }

    pub(crate) fn leave(&mut self, owner: Owner) {
        self.queue.retain(|(queued, _)| queued.owner() != owner);
    }

    pub(crate) fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Whether this owner is the first in the queue.
    pub(crate) fn is_first(&self, owner: Owner) -> bool {
        self.queue.front().is_some_and(|(first, _)| first.owner() == owner)
    }

    /// Lets the first in the queue ask once more, so that it learns when the name opens by itself.
    pub(crate) fn tell_first_of_end(&self) {
        if self.holder.as_ref().is_some_and(|holder| holder.deadline.is_some())
            && let Some((first, site)) = self.queue.front()
        {
            site.recheck(first.owner());
        }
    }

    #[inline]
    fn grant(&mut self, claim: &Claim, site: Option<&Site>) -> Granted<()> {
        let (lease, deadline) = life(claim.term(), claim.is_detached());
        let fence = next_fence(claim.floor());
        self.holder = Some(Holding {
            owner: Some(claim.owner()),
            fence,
            deadline,
            place: claim.place(),
            label: claim.own_label().map(Into::into),
            since: wall_coarse(),
            site: site.cloned(),
            breaking: None,
        });
        let granted = Granted::new((), fence, lease);
        match (lease, deadline) {
            (Lease::For(ttl), Some(deadline)) => granted.since(deadline - ttl),
            _ => granted,
        }
    }
}

impl Holding {
    pub(crate) fn is_live(&self, now: Moment) -> bool {
        self.deadline.is_none_or(|deadline| deadline > now)
    }

    fn denial(&self, now: Moment) -> Denied {
        let denied = Denied::new().holder(self.fence);
        let denied = if self.owner.is_some() { denied.held_at(self.place) } else { denied };
        match self.deadline {
            Some(deadline) => denied.retry_after(deadline.since(now)),
            None => denied,
        }
    }
}

/// The lifetime of a grant, and when it ends.
fn life(term: Term, detached: bool) -> (Lease, Option<Moment>) {
    match term {
        Term::Fixed(ttl) => (Lease::For(ttl.get()), Some(Moment::now() + ttl.get())),
        // What is dropped unreleased must end by itself.
        Term::Kept(ttl) if detached => (Lease::For(ttl.get()), Some(Moment::now() + ttl.get())),
        // Kept alive as long as the process lives, which is as long as this store.
        _ => (Lease::Session, None),
    }
}

/// One sequence for all stores of the process, so that no fence depends on an entry or a store
/// being remembered.
pub(crate) fn next_fence(floor: Fence) -> Fence {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let last = LAST.load(Ordering::Relaxed);
    if last == 0 || last < floor.get() {
        LAST.fetch_max(wall_micros().max(floor.get()), Ordering::Relaxed);
    }
    Fence::new(LAST.fetch_add(1, Ordering::Relaxed) + 1)
}
