//! Looking at locks from outside, and breaking them.

use std::fs;
use std::os::unix::fs::FileExt;
use std::time::{Duration, UNIX_EPOCH};

use tenure_core::{Backend, Breaking, Fence, Holder, Inspect, Moment, Name, Result, wall_micros};

use crate::Files;
use crate::config::EXTENSION;
use crate::entry::{Entry, unavailable};
use crate::record::{Record, SIZE, Standing, State};

impl Inspect for Files {
    fn inspect(&self, name: &Name) -> Result<Option<Holder>> {
        let Some(entry) = self.find(&self.key(name))? else { return Ok(None) };
        self.describe(name, &entry)
    }

    fn list(&self, prefix: &str) -> Result<Vec<Holder>> {
        let own = self.site().settings().prefix();
        let mut holders = Vec::new();
        for key in self.keys()? {
            let Some(name) = key.strip_prefix(own).filter(|name| name.starts_with(prefix)) else { continue };
            if let Ok(name) = Name::new(name) {
                holders.extend(self.inspect(&name)?);
            }
        }
        holders.sort_by(|one, other| one.name().cmp(other.name()));
        Ok(holders)
    }

    fn force_release(&self, name: &Name, breaking: Breaking, reason: &str) -> Result<Option<Holder>> {
        let Some(entry) = self.find(&self.key(name))? else { return Ok(None) };
        let Some(mut locked) = entry.lock()? else { return Ok(None) };
        let mut record = self.record(&entry, &locked)?;
        let now = Moment::now();
        if matches!(self.standing(&locked, &record, now), Standing::Free | Standing::Quarantined(_)) {
            return Ok(None);
        }
        let seen = holder(name, &record, now);
        record.fence = Fence::next(record.fence, Fence::ZERO, wall_micros());
        // A name that is merely kept closed has nobody who could let go.
        if breaking == Breaking::Now || record.owner.is_none() {
            record.evicted = record.owner;
            record.clear();
        } else {
            record.state = State::Broken;
            record.reason = reason.into();
        }
        locked.write_and_tell(record)?;
        Ok(Some(seen))
    }
}

impl Files {
    fn key(&self, name: &Name) -> String {
        [self.site().settings().prefix(), name.as_str()].concat()
    }

    fn describe(&self, name: &Name, entry: &Entry) -> Result<Option<Holder>> {
        let record = entry.look()?.filter(|record| entry.is_taken(record, &self.folder().boot));
        Ok(record.map(|record| holder(name, &record, Moment::now())))
    }

    /// The keys of all lock files in the folder, as the files themselves tell them.
    pub(crate) fn keys(&self) -> Result<Vec<String>> {
        let failed = |error| unavailable("the folder of lock files cannot be read", error).settled();
        let mut keys = Vec::new();
        for file in fs::read_dir(&self.folder().path).map_err(failed)? {
            let path = file.map_err(failed)?.path();
            if path.extension().is_none_or(|extension| extension != &EXTENSION[1..]) {
                continue;
            }
            let Ok(Some(file)) = self.folder().open_path(&path, false) else { continue };
            let Ok(about) = file.metadata() else { continue };
            let Some(length) = usize::try_from(about.len()).ok().and_then(|size| size.checked_sub(SIZE))
            else {
                continue;
            };
            let mut key = vec![0; length.min(Name::MAX_LEN + 256)];
            if file.read_exact_at(&mut key, SIZE as u64).is_ok()
                && let Ok(key) = String::from_utf8(key)
                && self.folder().path_of(&key) == path
            {
                keys.push(key);
            }
        }
        Ok(keys)
    }
}

fn holder(name: &Name, record: &Record, now: Moment) -> Holder {
    let remaining = (record.deadline != Moment::FAR).then(|| record.deadline.since(now));
    let holder = Holder::new(name.clone(), record.fence, remaining).with_label(record.label.clone());
    let holder = match UNIX_EPOCH.checked_add(Duration::from_micros(record.since_micros)) {
        Some(since) => holder.with_since(since),
        None => holder,
    };
    match record.state {
        State::Broken => holder.with_breaking(record.reason.clone()),
        _ => holder,
    }
}
