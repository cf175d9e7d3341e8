//! The store, and what it answers.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tenure_core::{
    AnyBackend, Attempt, Backend, Cause, Claim, Error, Granted, Moment, Permits, Release, Renewal, Resolved,
    Restore, Result, SessionLocks, Settings, SharedLocks, Site, Watch,
};

use crate::entry::Entry;
use crate::shards::Shards;

/// Locks in the memory of this process, and of no other.
///
/// Cheap to clone; clones are the same store. Two stores made separately share nothing.
#[derive(Clone)]
pub struct LocMem(Arc<Inner>);

struct Inner {
    site: Site,
    /// The site again, unless it is the store's first.
    other: Option<Site>,
    shards: Arc<Shards>,
}

/// The whole URL of such a store.
const LABEL: &str = "mem:";

impl LocMem {
    /// Makes an empty store. As its name says, no other process will see its locks.
    #[must_use]
    pub fn for_this_process_only() -> Self {
        Self::with_settings(Settings::default())
    }

    /// Makes an empty store, for this process only, with settings of its own.
    #[must_use]
    pub fn with_settings(settings: Settings) -> Self {
        let site = Site::direct(LABEL, settings);
        let shards = Arc::new(Shards::new(site.clone()));
        Self(Arc::new(Inner { site, other: None, shards }))
    }

    /// The same store under other settings, as another part of a program may use it.
    #[must_use]
    pub fn share_with_settings(&self, settings: Settings) -> Self {
        let site = Site::direct(LABEL, settings);
        Self(Arc::new(Inner { other: Some(site.clone()), site, shards: self.0.shards.clone() }))
    }

    /// How many claims wait in line for a key, prefix included.
    #[must_use]
    pub fn waiting(&self, key: &str) -> usize {
        self.0.shards.find(key).map_or(0, |entry| entry.lock().waiting())
    }

    /// How many names the store remembers, idle ones included; they are forgotten in time.
    #[must_use]
    pub fn entries(&self) -> usize {
        self.0.shards.len()
    }

    pub(crate) fn shards(&self) -> &Shards {
        &self.0.shards
    }

    fn entry<'c>(&self, claim: &'c Claim) -> Result<Resolved<'c, Entry>> {
        claim.resolved(|| Ok(self.0.shards.entry(claim.key())))
    }
}

impl Backend for LocMem {
    /// The name's entry has it all, and the claim leads there.
    type Grant = ();
    type Handle = Self;

    fn handle(&self) -> Self {
        self.clone()
    }

    fn site(&self) -> &Site {
        &self.0.site
    }

    fn try_acquire(&self, claim: &Claim) -> Result<Attempt<()>> {
        let entry = self.entry(claim)?;
        let mut state = entry.lock();
        Ok(match state.try_acquire(claim, &entry, self.0.other.as_ref()) {
            Ok(granted) => Attempt::Granted(granted),
            Err(denied) => Attempt::Denied(denied),
        })
    }

    fn renew(&self, due: Renewal<'_, ()>) -> Result<()> {
        let claim = due.claim();
        let entry = self.entry(claim)?;
        let mut state = entry.lock();
        let Some(holder) = state.owned(claim.owner()) else {
            let forced = state.was_forced(claim.owner());
            return Err(Error::lost(if forced { Cause::Forced } else { Cause::Superseded }));
        };
        if due.ttl() == Duration::MAX {
            return Ok(());
        }
        let before = holder.deadline;
        let deadline = Moment::now() + due.ttl();
        holder.deadline = Some(deadline);
        let shorter = before.is_none_or(|before| deadline < before);
        if shorter {
            state.tell_first_of_end();
        }
        Ok(())
    }

    fn release(&self, end: Release<'_, ()>) -> Result<()> {
        let owner = end.claim().owner();
        let entry = self.entry(end.claim())?;
        let mut state = entry.lock();
        let answer = match state.owned(owner).is_some() {
            true => Ok(()),
            false if state.was_forced(owner) => Err(Error::lost(Cause::Forced)),
            false => Err(Error::lost(Cause::Superseded)),
        };
        state.vacate(owner, end.keep());
        entry.hand_on(&mut state);
        answer
    }

    fn abandon(&self, claim: &Claim) {
        let Ok(entry) = self.entry(claim) else { return };
        let mut state = entry.lock();
        state.leave(claim.owner());
        state.vacate(claim.owner(), None);
        entry.hand_on(&mut state);
    }

    fn watch(&self, claim: &Claim) -> Result<Watch> {
        let entry = self.entry(claim)?;
        let mut state = entry.lock();
        state.queue(claim, &self.0.site);
        // The name may have become free since it was denied, or somebody else's.
        if state.is_first(claim.owner()) {
            entry.hand_on(&mut state);
        }
        Ok(Watch::queued(()))
    }
}

impl Restore for LocMem {
    fn restore(&self, claim: &Claim) -> Result<Granted<()>> {
        let entry = self.entry(claim)?;
        let mut state = entry.lock();
        let granted = state.adopt(claim).ok_or_else(|| Error::lost(Cause::Superseded))?;
        state.tell_first_of_end();
        Ok(granted)
    }
}

impl SessionLocks for LocMem {}

impl SharedLocks for LocMem {}

impl Permits for LocMem {}

impl From<LocMem> for AnyBackend {
    fn from(store: LocMem) -> Self {
        Self::erase(store).inspect().restore().sessions().shared().permits().build()
    }
}

impl fmt::Debug for LocMem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocMem").field("settings", self.0.site.settings()).finish_non_exhaustive()
    }
}
