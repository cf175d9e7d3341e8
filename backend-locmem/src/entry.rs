//! One name: who holds it, and who waits for it, in order.

use std::collections::VecDeque;
use std::panic::Location;
use std::sync::PoisonError;
use std::time::{Duration, SystemTime};

use tenure_core::{
    Claim, Delivery, Denied, Fence, Granted, Lease, Mode, Moment, Owner, Site, Term, wall_coarse, wall_micros,
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
    /// Who holds it alone.
    holder: Option<Holding>,
    /// Who hold it together; none as long as somebody holds it alone.
    sharers: Vec<Holding>,
    /// With the handle of the store that each came through: that is where it listens.
    queue: VecDeque<(Claim, Site)>,
    /// Whose locks were opened by force last, while they may still have believed in them.
    evicted: Vec<Owner>,
}

/// Who holds a name.
pub(crate) struct Holding {
    /// `None` while a released name is kept closed for a time.
    pub(crate) owner: Option<Owner>,
    pub(crate) mode: Mode,
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
        let (state, now) = (self.lock(), Moment::now());
        !state.queue.is_empty() || state.holdings().any(|holder| holder.is_live(now))
    }

    /// Hands a name on to the first waiters that are still there, as far as they can have it. Who is the
    /// first after that is told when the name has an end now that it may not know of.
    #[inline]
    pub(crate) fn hand_on(&self, state: &mut State) {
        if !state.queue.is_empty() {
            self.hand_to_first(state);
        }
    }

    fn hand_to_first(&self, state: &mut State) {
        state.forget_expired(Moment::now());
        while let Some((next, _)) = state.queue.front()
            && state.admits(next.mode())
            && let Some((next, site)) = state.queue.pop_front()
        {
            let granted = state.grant(&next, Some(&site));
            // Still inside the entry's mutex, so that the waiter's own attempts cannot cross.
            if site.deliver(&self.key, next.owner(), granted) == Delivery::Gone {
                state.remove(next.owner());
            }
        }
        state.tell_first_of_end();
    }
}

impl State {
    /// Grants a name if it is free for this claim, or again what the claim has already.
    pub(crate) fn try_acquire(
        &mut self,
        claim: &Claim,
        entry: &Entry,
        site: Option<&Site>,
    ) -> Result<Granted<()>, Denied> {
        if self.is_held() {
            self.forget_expired(Moment::now());
            if let Some(granted) = self.adopt(claim) {
                return Ok(granted);
            }
        }
        let first = match self.queue.front() {
            None => true,
            Some((first, _)) if first.owner() == claim.owner() => true,
            // What is free goes to those who wait, and nobody overtakes them: a reader no writer.
            Some(_) => {
                entry.hand_on(self);
                // It may have been one of those, and has it by now.
                if let Some(granted) = self.adopt(claim) {
                    return Ok(granted);
                }
                self.queue.is_empty()
            }
        };
        if !first || !self.admits(claim.mode()) {
            return Err(self.denial(claim.mode(), Moment::now()));
        }
        // It may have stood there itself.
        let stood = self.queue.pop_front().is_some();
        let granted = self.grant(claim, site);
        if stood {
            self.tell_first_of_end();
        }
        Ok(granted)
    }

    #[inline]
    fn is_held(&self) -> bool {
        self.holder.is_some() || !self.sharers.is_empty()
    }

    /// Everybody who holds the name, alone or together.
    pub(crate) fn holdings(&self) -> impl Iterator<Item = &Holding> {
        self.holder.iter().chain(&self.sharers)
    }

    fn holdings_mut(&mut self) -> impl Iterator<Item = &mut Holding> {
        self.holder.iter_mut().chain(&mut self.sharers)
    }

    fn forget_expired(&mut self, now: Moment) {
        self.holder.take_if(|holder| !holder.is_live(now));
        self.sharers.retain(|holder| holder.is_live(now));
    }

    /// Whether there is room for one more in this mode.
    #[inline]
    fn admits(&self, mode: Mode) -> bool {
        match mode {
            _ if self.holder.is_some() => false,
            Mode::Exclusive => self.sharers.is_empty(),
            Mode::Shared => self.sharers.iter().all(|sharer| sharer.mode == Mode::Shared),
            Mode::Permit { limit } => {
                let permits = self.sharers.iter().all(|sharer| matches!(sharer.mode, Mode::Permit { .. }));
                permits && self.sharers.len() < limit as usize
            }
            _ => false,
        }
    }

    /// Why a claim of this mode cannot have it, and when it may.
    fn denial(&self, mode: Mode, now: Moment) -> Denied {
        let Some(latest) = self.holdings().max_by_key(|holder| holder.fence) else { return Denied::new() };
        let ends = self.holdings().map(|holder| holder.deadline.unwrap_or(Moment::FAR));
        // One permit is enough; everything else waits for the last one to end.
        let (permit, permits) =
            (matches!(mode, Mode::Permit { .. }), matches!(latest.mode, Mode::Permit { .. }));
        let free = if permit && permits { ends.min() } else { ends.max() };
        let denied = Denied::new().holder(latest.fence);
        let denied = if latest.owner.is_some() { denied.held_at(latest.place) } else { denied };
        match free {
            Some(Moment::FAR) | None => denied,
            Some(free) => denied.retry_after(free.since(now)),
        }
    }

    /// Gives a claim what its owner has, with a new life.
    pub(crate) fn adopt(&mut self, claim: &Claim) -> Option<Granted<()>> {
        let (lease, deadline) = life(claim.term(), claim.is_detached());
        let holder = self.owned(claim.owner())?;
        holder.deadline = deadline;
        Some(Granted::new((), holder.fence, lease))
    }

    /// What this owner holds, if it is live and was not broken.
    #[inline]
    pub(crate) fn owned(&mut self, owner: Owner) -> Option<&mut Holding> {
        self.holdings_mut()
            .find(|holder| holder.owner == Some(owner))
            .filter(|holder| holder.breaking.is_none())
            .filter(|holder| holder.deadline.is_none_or(|deadline| deadline > Moment::now()))
    }

    /// Whether this owner lost the name by force.
    pub(crate) fn was_forced(&self, owner: Owner) -> bool {
        let breaking = |holder: &Holding| holder.owner == Some(owner) && holder.breaking.is_some();
        self.evicted.contains(&owner) || self.holdings().any(breaking)
    }

    /// Takes from this owner what it holds, whatever its state; what remains if it is kept closed.
    #[inline]
    pub(crate) fn vacate(&mut self, owner: Owner, keep: Option<Duration>) {
        let Some(keep) = keep else { return self.remove(owner) };
        let Some(holder) = self.holdings_mut().find(|holder| holder.owner == Some(owner)) else { return };
        if holder.breaking.is_some() {
            return self.remove(owner);
        }
        (holder.owner, holder.deadline) = (None, Some(Moment::now() + keep));
    }

    #[inline]
    fn remove(&mut self, owner: Owner) {
        self.holder.take_if(|holder| holder.owner == Some(owner));
        self.sharers.retain(|holder| holder.owner != Some(owner));
    }

    /// Takes the name from everybody who has it, now or when they let go of it. Returns who that was,
    /// with where each came through.
    pub(crate) fn force(&mut self, now_open: bool, reason: &str) -> Vec<(Owner, Option<Site>)> {
        for holder in self.holdings_mut() {
            holder.fence = next_fence(holder.fence);
            holder.breaking = Some(reason.into());
        }
        let losers: Vec<_> =
            self.holdings().filter_map(|holder| Some((holder.owner?, holder.site.clone()))).collect();
        if now_open {
            self.evicted = losers.iter().map(|(owner, _)| *owner).collect();
            self.holder = None;
            self.sharers.clear();
        } else {
            // What is merely kept closed has nobody who could acknowledge.
            self.holder.take_if(|holder| holder.owner.is_none());
            self.sharers.retain(|holder| holder.owner.is_some());
        }
        losers
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
        if self.holdings().any(|holder| holder.deadline.is_some())
            && let Some((first, site)) = self.queue.front()
        {
            site.recheck(first.owner());
        }
    }

    #[inline]
    fn grant(&mut self, claim: &Claim, site: Option<&Site>) -> Granted<()> {
        let (lease, deadline) = life(claim.term(), claim.is_detached());
        let fence = next_fence(claim.floor());
        let holding = Holding {
            owner: Some(claim.owner()),
            mode: claim.mode(),
            fence,
            deadline,
            place: claim.place(),
            label: claim.own_label().map(Into::into),
            since: wall_coarse(),
            site: site.cloned(),
            breaking: None,
        };
        match claim.mode() {
            Mode::Exclusive => self.holder = Some(holding),
            _ => self.sharers.push(holding),
        }
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
