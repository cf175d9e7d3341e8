//! The rules of the model: how long a grant lasts, who owns it, what its end leaves, which fence
//! comes next. In each of them the last line is the rule, and those before it break it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tenure_core::{Cause, Claim, Fence, Lease, Moment, Owner, Result};

use super::Fault;
use super::model::Model;
use super::record::{Holding, Record};

/// The lifetime of a grant: what the holder is told, and what the record says.
pub(super) struct Life {
    pub(super) told: Lease,
    pub(super) until: Option<Moment>,
}

/// What a holder wants to do with what it has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    Renew,
    Release,
    Restore,
}

/// What must be true of it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Check {
    Owner,
    End,
    Force,
}

impl Model {
    /// A lifetime from now on; without one, the holder's process is the end.
    pub(super) fn life(&self, ttl: Option<Duration>) -> Life {
        let now = self.now();
        let lease = self.settings().lease().get();
        let session = Life { told: Lease::Session, until: None };
        let exact = |ttl| Life { told: Lease::For(ttl), until: Some(now + ttl) };
        let Some(ttl) = ttl else {
            return if self.has(Fault::SessionHasALease) { exact(lease) } else { session };
        };
        let ending = |until| Life { until: Some(until), ..exact(ttl) };
        match self.fault() {
            Some(Fault::IgnoresTtl) => session,
            Some(Fault::ExpiresEarly) => ending(now + ttl / 2),
            Some(Fault::NeedsAHeartbeat) => ending(now + ttl.min(Duration::from_millis(100))),
            Some(Fault::WholeSeconds) => ending(whole_seconds(now + ttl)),
            Some(Fault::RoundsTtlUp) => exact(ttl.max(Duration::from_secs(15))),
            Some(Fault::CapsLongLeases) => exact(ttl.min(Duration::from_secs(600))),
            Some(Fault::SaysALongerLease) => Life { told: Lease::For(ttl * 64), ..exact(ttl) },
            Some(Fault::SaysNoLease) => Life { told: Lease::Session, ..exact(ttl) },
            _ => exact(ttl),
        }
    }

    /// Whoever has the name now. A lease lasts until its end, and a session as long as its process.
    pub(super) fn holder<'r>(&self, record: &'r Record) -> Option<&'r Holding> {
        record.holder.as_ref().filter(|holding| self.stands(holding, &record.key))
    }

    pub(super) fn stands(&self, holding: &Holding, key: &str) -> bool {
        let Some(deadline) = holding.deadline() else { return self.lives(&holding.mark) };
        let lasts = self.now() < deadline;
        match self.fault() {
            Some(Fault::NeverExpires) => true,
            Some(Fault::DetachedEndsWithTheProcess) => lasts && self.lives(&holding.mark),
            Some(Fault::KeepEndsWithTheProcess) if holding.owner.is_none() => {
                lasts && self.lives(&holding.mark)
            }
            Some(Fault::HeldByAnOpenFile) => self.is_file_open(key),
            _ => lasts,
        }
    }

    /// What this owner has, or why it has it no more.
    pub(super) fn owned<'r>(
        &self,
        record: &'r mut Record,
        owner: Owner,
        act: Act,
    ) -> Result<&'r mut Holding, Cause> {
        let forced = if self.has(Fault::ForceSaysNothing) { Cause::Superseded } else { Cause::Forced };
        let lost = if record.evicted.contains(&owner) { forced } else { Cause::Superseded };
        let stands = self.holder(record).is_some();
        let elsewhere = self.has(Fault::ThreadIsTheOwner) && record.trace.thread != this_thread();
        let shares = self.sharers(record).iter().any(|share| share.holding.owner == Some(owner));
        if let Some(place) = record.place_of(owner) {
            let share = &mut record.shares[place];
            return match () {
                () if share.holding.breaking.is_some() => Err(forced),
                () if !shares => Err(Cause::Expired),
                () => Ok(&mut share.holding),
            };
        }
        let Some(holding) = record.holder.as_mut() else { return Err(lost) };
        if elsewhere || holding.owner != Some(owner) && !self.overlooks(act, Check::Owner) {
            return Err(lost);
        }
        if holding.breaking.is_some() && !self.overlooks(act, Check::Force) {
            return Err(forced);
        }
        if !stands && !self.overlooks(act, Check::End) {
            return Err(Cause::Expired);
        }
        Ok(holding)
    }

    /// Whether a check is what this store forgets.
    fn overlooks(&self, act: Act, check: Check) -> bool {
        let fault = match (act, check) {
            (Act::Renew, Check::Owner) => Fault::RenewsWithoutOwnerCheck,
            (Act::Renew, Check::End) => Fault::RenewsTheExpired,
            (Act::Renew, Check::Force) => Fault::RenewsTheBroken,
            (Act::Restore, Check::Owner) => Fault::RestoresForAnybody,
            (Act::Restore, Check::End) => Fault::RestoresTheExpired,
            (Act::Restore, Check::Force) => Fault::RestoresTheBroken,
            (Act::Release, _) => Fault::ReleasesWithoutOwnerCheck,
        };
        self.has(fault)
    }

    /// The end of a grant after a renewal to `ttl` from now, of a lock that was asked for `own`.
    pub(super) fn renewed(&self, before: Moment, own: Duration, ttl: Duration) -> Option<Moment> {
        let left = before.since(self.now());
        let until = |ttl| self.life(Some(ttl)).until;
        match self.fault() {
            Some(Fault::RenewIgnoresTtl) => until(own),
            Some(Fault::RenewShortens) if left > own => until(own),
            Some(Fault::RenewTakesTheLonger) => until(ttl.max(left)),
            Some(Fault::RenewsForLess) => until(ttl / 8),
            Some(Fault::RenewDropsTheEnd) => None,
            _ => until(ttl),
        }
    }

    /// What a release leaves: nothing, or a name that is nobody's and stays taken for a time.
    pub(super) fn remains(&self, holding: Holding, keep: Option<Duration>) -> Option<Holding> {
        let closed = |holding: Holding, time| Some(holding.closed_until(self.now() + time));
        match (self.fault(), keep) {
            (Some(Fault::ForgetsToFree | Fault::HeldByAnOpenFile), _) => Some(holding),
            (Some(Fault::BrokenStaysClosed), _) if holding.breaking.is_some() => Some(holding),
            (Some(Fault::RestsAfterRelease), None) => closed(holding, Duration::from_secs(3)),
            (Some(Fault::ReleaseIgnoresKeep), Some(_)) => None,
            (Some(Fault::KeepsToTheEndOfTheLease), Some(_)) => Some(Holding { owner: None, ..holding }),
            (Some(Fault::KeepLeavesTheToken), Some(keep)) => {
                let owner = holding.owner;
                closed(holding, keep).map(|closed| Holding { owner, ..closed })
            }
            (_, Some(keep)) => closed(holding, keep),
            (_, None) => None,
        }
    }

    /// The fence of the next grant: above the latest, which is never forgotten here, and above what
    /// the claim has seen. A store that can lose its records takes the clock to help.
    pub(super) fn next_fence(&self, record: &Record, claim: &Claim) -> Fence {
        let expired = record.holder.is_some() && self.holder(record).is_none();
        let next = Fence::next(Fence::new(record.fence), claim.floor(), 0);
        match self.fault() {
            Some(Fault::SameFence) => Fence::new(1),
            Some(Fault::FencePerHandle) => self.handles_count(),
            Some(Fault::FencePerProcess) => processes_count(),
            Some(Fault::FenceResetOnExpiry) if expired => Fence::new(1),
            Some(Fault::FenceResetOnReopen) if self.is_new_here(&record.key) => Fence::new(1),
            Some(Fault::HugeFences) => Fence::new(next.get() | 1 << 63),
            _ => next,
        }
    }
}

/// The thread that runs, for stores that take it for an owner.
pub(super) fn this_thread() -> String {
    format!("{}/{:?}", std::process::id(), std::thread::current().id())
}

fn whole_seconds(moment: Moment) -> Moment {
    Moment::from_nanos(moment.as_nanos() / 1_000_000_000 * 1_000_000_000)
}

fn processes_count() -> Fence {
    static COUNT: AtomicU64 = AtomicU64::new(1);
    Fence::new(COUNT.fetch_add(1, Ordering::Relaxed))
}
