//! What the model answers to an attempt.

use std::fs::File;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use tenure_core::{Attempt, Backend, Cause, Claim, Denied, Error, Fence, Granted, Owner, Result};

use super::Fault;
use super::model::Model;
use super::odd::Leaves;
use super::record::{Holding, Inside};
use super::rules::this_thread;

/// What a holder has in its hands: its token. All else is in the record.
#[derive(Debug)]
pub struct Hold {
    pub(super) owner: Owner,
    /// What broken stores have here.
    pub(super) file: Mutex<Option<File>>,
    _leaves: Option<Leaves>,
}

impl Model {
    /// Grants a name that is free.
    pub(super) fn take(&self, mut inside: Inside, claim: &Claim) -> Result<Attempt<Hold>> {
        let expired = inside.record.holder.is_some();
        let reserved = inside.record.trace.reserved.is_some_and(|owner| owner != claim.owner());
        match self.fault() {
            Some(Fault::GrantsNothing) => return Ok(Attempt::Denied(Denied::new())),
            Some(Fault::DeniedAttemptReserves) if reserved => return Ok(Attempt::Denied(Denied::new())),
            Some(Fault::PrefersWhoeverReleased) if self.is_preferred_elsewhere(&inside.record)? => {
                return Ok(Attempt::Denied(Denied::new()));
            }
            Some(Fault::LooksThenTakes) => inside = self.leave_and_enter(inside, claim)?,
            Some(Fault::ReplacesTheExpiredInTwoSteps) if expired => {
                inside = self.leave_and_enter(inside, claim)?;
            }
            _ => {}
        }
        self.grant(&mut inside, claim).map(Attempt::Granted)
    }

    pub(super) fn grant(&self, inside: &mut Inside, claim: &Claim) -> Result<Granted<Hold>> {
        let owner = if self.has(Fault::NewTokenPerRetry) { Owner::random() } else { claim.owner() };
        let fence = self.next_fence(&inside.record, claim);
        let life = self.life(claim.term().ttl().map(|ttl| ttl.get()));
        let record = &mut inside.record;
        record.fence = fence.get();
        record.trace.last = record.holder.take();
        record.trace.thread = this_thread();
        record.trace.reserved = None;
        record.evicted.clear();
        record.shares.clear();
        record.holder = Some(Holding::new(owner, life.until, self.mark()?, claim.label()));
        inside.save()?;
        self.forget_old_locks(inside);
        Ok(Granted::new(self.hold(claim, owner)?, fence, life.told))
    }

    /// Gives a claim again what it has.
    pub(super) fn adopt(&self, inside: &mut Inside, claim: &Claim) -> Result<Granted<Hold>> {
        let life = self.life(claim.term().ttl().map(|ttl| ttl.get()));
        if let Some(holding) = &mut inside.record.holder {
            holding.mark = self.mark()?;
            if !self.has(Fault::RestoreLeavesTheLife) {
                holding.set_deadline(life.until);
            }
        }
        inside.save()?;
        Ok(Granted::new(self.hold(claim, claim.owner())?, Fence::new(inside.record.fence), life.told))
    }

    /// Denies a name that somebody has. A denial changes nothing; it says how long the name stays taken
    /// if nothing is renewed, and whose fence is in the way.
    pub(super) fn deny(&self, mut inside: Inside, claim: &Claim, holding: Holding) -> Result<Attempt<Hold>> {
        let ttl = claim.term().ttl().map(|ttl| ttl.get());
        let mut left = holding.deadline().map(|deadline| deadline.since(self.now()));
        let mut fence = Fence::new(inside.record.fence);
        let regrants = match self.fault() {
            Some(Fault::GrantsWhoeverAsks) => true,
            Some(Fault::ReentrantByProcess) => self.is_of_this_process(&holding.mark),
            Some(Fault::ReentrantByThread) => inside.record.trace.thread == this_thread(),
            Some(Fault::ChildIsItsParent) => self.is_child_of(&holding.mark),
            Some(Fault::ShortTtlSteals) => ttl.is_some_and(|ttl| ttl < Duration::from_secs(1)),
            _ => false,
        };
        if regrants {
            return self.grant(&mut inside, claim).map(Attempt::Granted);
        }
        match self.fault() {
            Some(Fault::SwallowsContention) => {
                let hold = self.hold(claim, claim.owner())?;
                return Ok(Attempt::Granted(Granted::new(hold, fence, self.life(ttl).told)));
            }
            Some(Fault::ContentionIsAnError) => return Err(Error::unavailable("somebody has it")),
            Some(Fault::WritesBeforeLooking) => {
                inside.record.holder = Some(Holding { owner: Some(claim.owner()), ..holding });
                inside.save()?;
            }
            Some(Fault::DeniedAttemptExtends) => {
                if let Some(holding) = &mut inside.record.holder {
                    holding.set_deadline(self.life(ttl).until);
                }
                inside.save()?;
            }
            Some(Fault::DeniedAttemptReserves) => {
                inside.record.trace.reserved = Some(claim.owner());
                inside.save()?;
            }
            Some(Fault::RevokesTheHolder) => {
                if let Some(owner) = holding.owner {
                    self.site().revoke(claim.key(), owner, Cause::Superseded);
                }
            }
            Some(Fault::BlocksWhileHeld) => {
                drop(inside);
                thread::sleep(Duration::from_millis(400));
            }
            Some(Fault::NamesTheWrongFence) => fence = Fence::new(fence.get() + 1),
            Some(Fault::HidesTheLease) => left = None,
            _ => {}
        }
        let denied = Denied::new().holder(fence);
        Ok(Attempt::Denied(left.map_or(denied, |left| denied.retry_after(left))))
    }

    pub(super) fn hold(&self, claim: &Claim, owner: Owner) -> Result<Hold> {
        let file = self.has(Fault::HeldByAnOpenFile).then(|| self.open_inherited(claim.key())).transpose()?;
        let leaves = || Leaves::new(self, claim);
        if self.has(Fault::EndsWithTheThread) {
            leaves().end_with_this_thread();
        }
        let leaves = (self.has(Fault::FreesWhatWasLeft) && claim.is_detached()).then(leaves);
        Ok(Hold { owner, file: Mutex::new(file), _leaves: leaves })
    }
}
