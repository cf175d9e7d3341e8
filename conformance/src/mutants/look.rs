//! Looking at locks of the model, and breaking them.

use std::thread;
use std::time::{Duration, UNIX_EPOCH};

use tenure_core::{Breaking, Fence, Holder, Inspect, Name, Result};

use super::Fault;
use super::model::Model;
use super::record::{Holding, Inside, Record, unanswered};

impl Inspect for Model {
    fn inspect(&self, name: &Name) -> Result<Option<Holder>> {
        let Some(inside) = self.find(name)? else { return Ok(None) };
        let seen = self.describe(name, &inside.record);
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
        let record = &mut inside.record;
        if seen.is_none() {
            let anybody = Holder::new(name.clone(), Fence::new(record.fence), None);
            return Ok(self.has(Fault::ForceFindsAnybody).then_some(anybody));
        }
        let Some(mut holding) = record.holder.take() else { return Ok(None) };
        record.fence = match self.fault() {
            Some(Fault::ForceKeepsTheFence) => record.fence,
            Some(Fault::ForceForgetsTheFence) => 0,
            _ => record.fence + 1,
        };
        let closes = match self.fault() {
            Some(Fault::ForceOpensAtOnce) => false,
            Some(Fault::ForceWaits) => true,
            Some(Fault::ForceWaitsForNobody) => breaking == Breaking::Safe,
            // A name that merely stays taken has nobody who could let go.
            _ => breaking == Breaking::Safe && holding.owner.is_some(),
        };
        if closes {
            let reason = if self.has(Fault::ForceForgetsTheReason) { "" } else { reason };
            holding.breaking = Some(reason.into());
            if self.has(Fault::ForceClosesForEver) {
                holding.set_deadline(None);
            }
            record.holder = Some(holding);
        } else {
            record.evicted = holding.owner;
        }
        inside.save()?;
        Ok(match self.fault() {
            Some(Fault::ForceReturnsWhatIsLeft) => self.describe(name, &inside.record).filter(|_| !closes),
            _ => seen,
        })
    }
}

impl Model {
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
        let left = holding.deadline().map(|deadline| deadline.since(self.now()));
        let since = UNIX_EPOCH.checked_add(Duration::from_micros(holding.granted)).unwrap_or(UNIX_EPOCH);
        let seen = Holder::new(name.clone(), Fence::new(record.fence), left);
        let seen = seen.with_label(holding.label.as_str()).with_since(since);
        Some(match &holding.breaking {
            Some(reason) => seen.with_breaking(reason.as_str()),
            None => seen,
        })
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
