//! Locks of the model that several hold together.

use std::time::Duration;

use tenure_core::{Attempt, Cause, Claim, Denied, Fence, Granted, Mode, Moment, Owner, Result};

use serde::{Deserialize, Serialize};

use super::Fault;
use super::grants::Hold;
use super::mark::WAITING_ALONE;
use super::model::Model;
use super::record::{Holding, Inside, Record};

/// The part of one holder among several.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Share {
    pub(super) holding: Holding,
    pub(super) fence: u64,
    /// The number of permits of which it is one; there may be any number of plain shares.
    pub(super) permits: Option<u32>,
}

impl Share {
    pub(super) fn mode(&self) -> Mode {
        self.permits.map_or(Mode::Shared, |limit| Mode::Permit { limit })
    }
}

impl Record {
    pub(super) fn place_of(&self, owner: Owner) -> Option<usize> {
        self.shares.iter().position(|share| share.holding.owner == Some(owner))
    }
}

impl Model {
    /// Those who share the name now.
    pub(super) fn sharers<'r>(&self, record: &'r Record) -> Vec<&'r Share> {
        record.shares.iter().filter(|share| self.stands(&share.holding, &record.key)).collect()
    }

    /// Answers a claim that does not want the name for itself alone.
    pub(super) fn share(&self, mut inside: Inside, claim: &Claim) -> Result<Attempt<Hold>> {
        let own = |share: &&Share| share.holding.owner == Some(claim.owner());
        let sharers = self.sharers(&inside.record);
        // The answer to its first attempt got lost.
        if sharers.into_iter().find(own).is_some_and(|share| share.holding.breaking.is_none()) {
            return self.adopt_share(&mut inside, claim).map(Attempt::Granted);
        }
        if !self.has_room(&inside.record, claim.mode()) || self.is_wanted_alone(claim)? {
            return Ok(Attempt::Denied(self.denial(&inside.record, claim)));
        }
        if self.has(Fault::LooksThenTakes) {
            inside = self.leave_and_enter(inside, claim)?;
        }
        self.grant_share(&mut inside, claim).map(Attempt::Granted)
    }

    fn has_room(&self, record: &Record, mode: Mode) -> bool {
        let sharers = self.sharers(record);
        let alike = |permit| sharers.iter().all(|share| share.permits.is_some() == permit);
        let first = sharers.first().and_then(|share| share.permits);
        let limit = |limit: u32| match self.fault() {
            Some(Fault::OnePermitTooFew) => limit as usize - 1,
            Some(Fault::OnePermitTooMany) => limit as usize + 1,
            Some(Fault::PermitsKeepTheFirstLimit) => first.unwrap_or(limit) as usize,
            _ => limit as usize,
        };
        let alone = self.holder(record).is_some() && !self.has(Fault::SharesBesideAHolder);
        let lonely = self.has(Fault::SharesWithNobody);
        match mode {
            _ if alone => false,
            Mode::Permit { limit: permits } => alike(true) && sharers.len() < limit(permits),
            Mode::Shared => alike(false) && (sharers.is_empty() || !lonely),
            _ => false,
        }
    }

    /// Whether somebody waits to have the name alone. New readers let him pass, or he would wait for
    /// as long as readers overlap.
    fn is_wanted_alone(&self, claim: &Claim) -> Result<bool> {
        let path = self.path(&self.address_of(claim)?);
        Ok(self.is_waited_for(&path, WAITING_ALONE) && !self.has(Fault::ReadersOvertakeWriters))
    }

    fn grant_share(&self, inside: &mut Inside, claim: &Claim) -> Result<Granted<Hold>> {
        let life = self.life(claim.term().ttl().map(|ttl| ttl.get()));
        let standing: Vec<_> = self.sharers(&inside.record).into_iter().cloned().collect();
        let fence = match self.has(Fault::OneFenceForAllShares) && !standing.is_empty() {
            true => Fence::new(inside.record.fence),
            false => self.next_fence(&inside.record, claim),
        };
        let holding = Holding::new(claim.owner(), life.until, self.mark()?, claim.label());
        let permits = match claim.mode() {
            Mode::Permit { limit } => Some(limit),
            _ => None,
        };
        let record = &mut inside.record;
        record.fence = fence.get();
        record.holder = None;
        record.shares = standing;
        record.shares.push(Share { holding, fence: fence.get(), permits });
        if self.has(Fault::TwoPermitsForAWaiter) && claim.waits() {
            record.shares.extend(record.shares.last().cloned());
        }
        if self.has(Fault::SharesLiveTogether) {
            let longest = record.shares.iter().filter_map(|share| share.holding.deadline).max();
            record.shares.iter_mut().for_each(|share| share.holding.deadline = longest);
        }
        inside.save()?;
        Ok(Granted::new(self.hold(claim, claim.owner())?, fence, life.told))
    }

    /// Gives a claim again what it has.
    pub(super) fn adopt_share(&self, inside: &mut Inside, claim: &Claim) -> Result<Granted<Hold>> {
        let life = self.life(claim.term().ttl().map(|ttl| ttl.get()));
        let mark = self.mark()?;
        let mut fence = Fence::new(inside.record.fence);
        if let Some(place) = inside.record.place_of(claim.owner()) {
            let share = &mut inside.record.shares[place];
            share.holding.mark = mark;
            share.holding.set_deadline(life.until);
            fence = Fence::new(share.fence);
        }
        inside.save()?;
        Ok(Granted::new(self.hold(claim, claim.owner())?, fence, life.told))
    }

    /// Why a claim cannot have what others share, and when it may.
    pub(super) fn denial(&self, record: &Record, claim: &Claim) -> Denied {
        let sharers = self.sharers(record);
        let holder = self.holder(record).into_iter();
        let holdings = || holder.clone().chain(sharers.iter().map(|share| &share.holding));
        let ends = holdings().map(|holding| holding.deadline().unwrap_or(Moment::FAR));
        // For one more permit, the end of one is enough.
        let one_is_enough = matches!(claim.mode(), Mode::Permit { .. });
        let free = if one_is_enough { ends.min() } else { ends.max() };
        let denied = Denied::new().holder(Fence::new(record.fence));
        match free {
            None | Some(Moment::FAR) => denied,
            Some(free) => denied.retry_after(free.since(self.now())),
        }
    }

    /// Ends the part of one holder; what the record says of others stays.
    pub(super) fn release_share(
        &self,
        mut inside: Inside,
        owner: Owner,
        held: Result<(), Cause>,
        keep: Option<Duration>,
    ) -> Result<Result<(), Cause>> {
        let record = &mut inside.record;
        match (self.fault(), record.place_of(owner)) {
            (Some(Fault::ForgetsToFree), _) => return Ok(held),
            (Some(Fault::ReleasesAllShares), Some(_)) => record.shares.clear(),
            (Some(Fault::LateReleaseFrees), None) => {
                record.shares.pop();
                record.holder = None;
            }
            (_, Some(place)) => {
                let share = record.shares.remove(place);
                let keep = keep.filter(|_| held.is_ok());
                if let Some(holding) = self.remains(share.holding, keep) {
                    record.shares.push(Share { holding, ..share });
                }
            }
            (_, None) => return Ok(held),
        }
        inside.save()?;
        Ok(held)
    }

    /// What a renewal does to the parts of others: nothing.
    pub(super) fn renew_others(&self, record: &mut Record, until: Option<Moment>) {
        if self.has(Fault::RenewsAllShares) {
            record.shares.iter_mut().for_each(|share| share.holding.set_deadline(until));
        }
    }
}
