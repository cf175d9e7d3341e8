//! Looking at locks of the model, and breaking them.

use std::thread;
use std::time::{Duration, UNIX_EPOCH};

use tenure_core::{Backend, Breaking, Fence, Holder, Inspect, Mode, Name, Result};

use super::Fault;
use super::model::Model;
use super::record::{Holding, Inside, Record, unanswered};
use super::shares::Share;

impl Inspect for Model {
    fn inspect(&self, name: &Name) -> Result<Option<Holder>> {
        let Some(inside) = self.find(name)? else { return Ok(None) };
        let seen = self.describe(name, &inside.record);
        let seen = seen.or_else(|| self.describe_sharers(name, &inside.record).pop());
        match self.fault() {
            Some(Fault::LookingRenews) => self.renew_at_a_look(inside)?,
            Some(Fault::LookingClears) => self.clear_at_a_look(inside)?,
            _ => {}
        }
        Ok(seen)
    }

    fn list(&self, prefix: &str) -> Result<Vec<Holder>> {
        let mut holders = Vec::new();
        for file in std::fs::read_dir(self.dir()).map_err(unanswered)? {
            let path = file.map_err(unanswered)?.path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            let Some(inside) = Inside::find(&path)? else { continue };
            let Some(name) = self.listed(&inside.record.key, prefix) else { continue };
            holders.extend(self.describe(&name, &inside.record));
            holders.extend(self.describe_sharers(&name, &inside.record));
        }
        holders.sort_by(|one, other| one.name().cmp(other.name()));
        if self.has(Fault::ListsUnsorted) {
            holders.reverse();
        }
        Ok(holders)
    }

    fn force_release(&self, name: &Name, breaking: Breaking, reason: &str) -> Result<Option<Holder>> {
        let Some(mut inside) = self.find(name)? else { return Ok(None) };
        let seen = self.describe(name, &inside.record);
        let seen = seen.or_else(|| self.describe_sharers(name, &inside.record).pop());
        let record = &mut inside.record;
        if seen.is_none() {
            let anybody = Holder::new(name.clone(), Fence::new(record.fence), None);
            return Ok(self.has(Fault::ForceFindsAnybody).then_some(anybody));
        }
        record.fence = match self.fault() {
            Some(Fault::ForceKeepsTheFence) => record.fence,
            Some(Fault::ForceForgetsTheFence) => 0,
            _ => record.fence + 1,
        };
        let mut evicted = Vec::new();
        let mut take = |holding: Holding| {
            let owner = holding.owner;
            let closed = self.closed(holding, breaking, reason);
            evicted.extend(owner.filter(|_| closed.is_none()));
            closed
        };
        record.holder = record.holder.take().and_then(&mut take);
        let others = match self.fault() {
            Some(Fault::ForceTakesOneShare) if !record.shares.is_empty() => record.shares.split_off(1),
            _ => Vec::new(),
        };
        let taken = std::mem::take(&mut record.shares).into_iter();
        record.shares =
            taken.filter_map(|share| Some(Share { holding: take(share.holding)?, ..share })).collect();
        record.shares.extend(others);
        record.evicted = evicted;
        inside.save()?;
        if let Some(seen) = &seen {
            self.site().force_released(seen, breaking, reason);
        }
        Ok(match self.fault() {
            Some(Fault::ForceReturnsWhatIsLeft) => {
                self.describe(name, &inside.record).filter(|left| left.breaking().is_none())
            }
            _ => seen,
        })
    }
}

impl Model {
    /// What stays of a holder from whom the lock is taken: what closes the name until he has let go.
    fn closed(&self, mut holding: Holding, breaking: Breaking, reason: &str) -> Option<Holding> {
        let closes = match self.fault() {
            Some(Fault::ForceOpensAtOnce) => false,
            Some(Fault::ForceWaits) => true,
            Some(Fault::ForceWaitsForNobody) => breaking == Breaking::Safe,
            // A name that merely stays taken has nobody who could let go.
            _ => breaking == Breaking::Safe && holding.owner.is_some(),
        };
        let reason = if self.has(Fault::ForceForgetsTheReason) { "" } else { reason };
        holding.breaking = Some(reason.into());
        if self.has(Fault::ForceClosesForEver) {
            holding.set_deadline(None);
        }
        closes.then_some(holding)
    }

    fn find(&self, name: &Name) -> Result<Option<Inside>> {
        let key = [self.settings().prefix(), name.as_str()].concat();
        Inside::find(&self.path(&self.address(&key)))
    }

    /// The name of a key under this store's prefix, if it begins like that.
    fn listed(&self, key: &str, start: &str) -> Option<Name> {
        let name = match self.fault() {
            Some(Fault::ListsOtherPrefixes) => key.split_once(':').map(|(_, name)| name),
            _ => key.strip_prefix(self.settings().prefix()),
        };
        let name = name.filter(|name| name.starts_with(start))?;
        match self.fault() {
            Some(Fault::ListsShortenedNames) => Name::new(self.record_name(name)).ok(),
            _ => Name::new(name).ok(),
        }
    }

    fn describe(&self, name: &Name, record: &Record) -> Option<Holder> {
        let holding = match self.fault() {
            Some(Fault::ShowsNobody) => None,
            Some(Fault::ShowsTheLast) => self.holder(record).or(record.trace.last.as_ref()),
            Some(Fault::ShowsTheExpired) => record.holder.as_ref(),
            Some(Fault::HidesKeptNames) => self.holder(record).filter(|holding| holding.owner.is_some()),
            Some(Fault::ShowsOnlyItsOwn) => {
                self.holder(record).filter(|holding| self.is_of_this_process(&holding.mark))
            }
            _ => self.holder(record),
        }?;
        Some(self.shown(name, record.fence, holding))
    }

    fn describe_sharers(&self, name: &Name, record: &Record) -> Vec<Holder> {
        let mode = |share: &Share| if self.has(Fault::HidesSharing) { Mode::Exclusive } else { share.mode() };
        let describe = |share: &Share| self.shown(name, share.fence, &share.holding).with_mode(mode(share));
        self.sharers(record).into_iter().map(describe).collect()
    }

    fn shown(&self, name: &Name, fence: u64, holding: &Holding) -> Holder {
        let left = holding.deadline().map(|deadline| deadline.since(self.now()));
        let since = UNIX_EPOCH.checked_add(Duration::from_micros(holding.granted)).unwrap_or(UNIX_EPOCH);
        let seen = Holder::new(name.clone(), Fence::new(fence), left);
        let seen = seen.with_label(holding.label.as_str()).with_since(since);
        match &holding.breaking {
            Some(reason) => seen.with_breaking(reason.as_str()),
            None => seen,
        }
    }

    fn renew_at_a_look(&self, mut inside: Inside) -> Result<()> {
        let longer = |holding: &Holding| Some(holding.deadline()? + Duration::from_millis(100));
        if let Some(holding) = &mut inside.record.holder {
            holding.set_deadline(longer(holding));
        }
        inside.save()
    }

    fn clear_at_a_look(&self, inside: Inside) -> Result<()> {
        if inside.record.holder.is_some() && self.holder(&inside.record).is_none() {
            let key = inside.record.key.clone();
            drop(inside);
            thread::sleep(Duration::from_millis(20));
            let mut inside = self.enter_at(&key)?;
            inside.record.holder = None;
            inside.save()?;
        }
        Ok(())
    }
}
