//! Looking at locks from outside, and breaking them.

use tenure_core::{Backend, Breaking, Cause, Holder, Inspect, Moment, Name, Result};

use crate::LocMem;
use crate::entry::Holding;

impl Inspect for LocMem {
    fn inspect(&self, name: &Name) -> Result<Option<Holder>> {
        let Some(entry) = self.shards().find(&self.key(name)) else { return Ok(None) };
        let state = entry.lock();
        let latest = state.holdings().max_by_key(|holder| holder.fence);
        Ok(latest.and_then(|holder| describe(name, holder)))
    }

    fn list(&self, prefix: &str) -> Result<Vec<Holder>> {
        let skip = self.site().settings().prefix().len();
        let mut holders = Vec::new();
        for entry in self.shards().starting_with(&[self.site().settings().prefix(), prefix].concat()) {
            let Ok(name) = Name::new(&entry.key()[skip..]) else { continue };
            holders.extend(entry.lock().holdings().filter_map(|holder| describe(&name, holder)));
        }
        holders.sort_by(|one, other| one.name().cmp(other.name()).then(one.fence().cmp(&other.fence())));
        Ok(holders)
    }

    fn force_release(&self, name: &Name, breaking: Breaking, reason: &str) -> Result<Option<Holder>> {
        let key = self.key(name);
        let Some(entry) = self.shards().find(&key) else { return Ok(None) };
        let mut state = entry.lock();
        let latest = state.holdings().max_by_key(|holder| holder.fence);
        let Some(seen) = latest.and_then(|holder| describe(name, holder)) else { return Ok(None) };
        let losers = state.force(breaking == Breaking::Now, reason);
        entry.hand_on(&mut state);
        drop(state);
        for (loser, site) in losers {
            site.as_ref().unwrap_or_else(|| self.shards().first()).revoke(&key, loser, Cause::Forced);
        }
        self.site().force_released(&seen, breaking, reason);
        Ok(Some(seen))
    }
}

impl LocMem {
    fn key(&self, name: &Name) -> String {
        [self.site().settings().prefix(), name.as_str()].concat()
    }
}

fn describe(name: &Name, holder: &Holding) -> Option<Holder> {
    let now = Moment::now();
    if !holder.is_live(now) {
        return None;
    }
    let remaining = holder.deadline.map(|deadline| deadline.since(now));
    let seen = Holder::new(name.clone(), holder.fence, remaining)
        .with_mode(holder.mode)
        .with_label(holder.label.as_deref().unwrap_or("this process"))
        .with_since(holder.since);
    Some(match &holder.breaking {
        Some(reason) => seen.with_breaking(reason.clone()),
        None => seen,
    })
}
