//! Looking at locks, and breaking them.

use std::fs::File;
use std::time::{Duration, UNIX_EPOCH};

use nix::fcntl::OFlag;
use tenure_core::{Breaking, Error, Fence, Holder, Inspect, Moment, Name, Result, wall_micros};

use crate::Files;
use crate::entry::{is_locked, read_at, read_key};
use crate::file_name;
use crate::ofd::{self, Kind, Range};
use crate::record::{HEADER, KEY, Parsed, Record, Standing, State, sum};
use crate::store::Store;

/// How often a look that crossed a write is repeated before it waits its turn.
const LOOKS: u32 = 20;

impl Inspect for Files {
    fn inspect(&self, name: &Name) -> Result<Option<Holder>> {
        let key = self.0.key(name);
        let Some(file) = self.0.open_file(&file_name::of(&key), OFlag::O_RDONLY)? else { return Ok(None) };
        let Some((record, label, reason)) = look(&file)? else { return Ok(None) };
        // By its sum, as who takes the lock does it: a scribble on the key hides no holder.
        let same = record.key_sum == sum(key.as_bytes());
        if same { self.0.holder(name, &file, &record, &label, &reason) } else { Ok(None) }
    }

    fn list(&self, prefix: &str) -> Result<Vec<Holder>> {
        let mut holders = Vec::new();
        for file_name in self.0.file_names()? {
            // A file that is not a record, or not readable, hides no other.
            let Ok(Some(file)) = self.0.open_file(&file_name, OFlag::O_RDONLY) else { continue };
            let Some((record, label, reason)) = look(&file)? else { continue };
            let Some(key) = read_key(&file, &record)? else { continue };
            let name = key.strip_prefix(self.0.site.settings().prefix());
            let Some(name) = name.filter(|name| name.starts_with(prefix)) else { continue };
            let Ok(name) = Name::new(name) else { continue };
            holders.extend(self.0.holder(&name, &file, &record, &label, &reason)?);
        }
        holders.sort_by(|one, other| one.name().cmp(other.name()));
        Ok(holders)
    }

    fn force_release(&self, name: &Name, breaking: Breaking, reason: &str) -> Result<Option<Holder>> {
        let Some(entry) = self.0.find(&self.0.key(name))? else { return Ok(None) };
        let Some((inside, mut record)) = self.0.enter(&entry)? else { return Ok(None) };
        // The entry's own description does not see the alive bytes that it has itself.
        let standing = record.standing(Moment::now(), self.0.boot);
        let held = match standing {
            Standing::Held { alive: Some(seq), .. } => entry.is_alive(seq)?,
            Standing::Held { alive: None, .. } => true,
            _ => false,
        };
        if !held {
            return Ok(None);
        }
        let mut bytes = [0; KEY];
        read_at(&entry.file, &mut bytes, 0)?;
        let (label, before) = record.texts(&bytes).unwrap_or_default();
        let seen = describe(name, &record, standing, &label, &before);
        record.fence = Fence::next(record.fence, Fence::ZERO, wall_micros());
        match breaking {
            // A name that is merely kept taken has nobody who could acknowledge.
            _ if record.owner.is_none() => record.free(),
            Breaking::Now => record.state = State::Broken,
            Breaking::Safe => record.state = State::Closed,
        }
        inside.write_described(&mut record, &label, reason)?;
        drop(inside);
        self.0.site.notify(&entry.key);
        self.0.site.force_released(&seen, breaking, reason);
        Ok(Some(seen))
    }
}

impl Store {
    pub(crate) fn key(&self, name: &Name) -> String {
        [self.site.settings().prefix(), name.as_str()].concat()
    }

    /// The names of the files in the folder that may be records.
    pub(crate) fn file_names(&self) -> Result<Vec<String>> {
        let failed = |source| {
            Error::unavailable("the folder cannot be read; check its owner and mode").with_source(source)
        };
        let mut names = Vec::new();
        for file in std::fs::read_dir(&self.path).map_err(failed)? {
            let name = file.map_err(failed)?.file_name();
            names.extend(name.into_string().ok().filter(|name| file_name::is_record(name)));
        }
        Ok(names)
    }

    fn holder(
        &self,
        name: &Name,
        file: &File,
        record: &Record,
        label: &str,
        reason: &str,
    ) -> Result<Option<Holder>> {
        let standing = record.standing(Moment::now(), self.boot);
        let held = match standing {
            // This description has no locks of its own, so it sees all others.
            Standing::Held { alive: Some(seq), .. } => is_locked(file, Range::alive(seq))?,
            Standing::Held { alive: None, .. } => true,
            _ => false,
        };
        Ok(held.then(|| describe(name, record, standing, label, reason)))
    }
}

fn describe(name: &Name, record: &Record, standing: Standing, label: &str, reason: &str) -> Holder {
    let remaining = match standing {
        Standing::Held { remaining, .. } => remaining,
        _ => None,
    };
    let since = UNIX_EPOCH.checked_add(Duration::from_micros(record.granted)).unwrap_or(UNIX_EPOCH);
    let holder = Holder::new(name.clone(), record.fence, remaining).with_label(label).with_since(since);
    if record.state == State::Closed { holder.with_breaking(reason) } else { holder }
}

/// Reads a record with its label and reason, without changing anything; `None` if there is none, or
/// none that is whole.
fn look(file: &File) -> Result<Option<(Record, String, String)>> {
    for _ in 0..LOOKS {
        if let Look::Whole(found) = look_once(file)? {
            return Ok(found);
        }
        std::thread::yield_now();
    }
    // It is torn, or written to without a pause. A read lock on byte 0 keeps writers out.
    let entered = ofd::try_lock(file, Kind::Read, Range::RECORD).unwrap_or(false);
    let found = look_once(file);
    if entered {
        ofd::unlock(file, Range::RECORD);
    }
    match found? {
        Look::Whole(found) => Ok(found),
        // A scribble on the texts hides no holder.
        Look::Crossed(record) => Ok(record.map(|record| (record, String::new(), String::new()))),
    }
}

enum Look {
    Whole(Option<(Record, String, String)>),
    Crossed(Option<Record>),
}

fn look_once(file: &File) -> Result<Look> {
    let mut bytes = [0; KEY];
    let len = read_at(file, &mut bytes, 0)?;
    Ok(match Parsed::read(&bytes[..len.min(HEADER)]) {
        Parsed::Record(record) => match record.texts(&bytes) {
            Some((label, reason)) => Look::Whole(Some((record, label, reason))),
            None => Look::Crossed(Some(record)),
        },
        Parsed::Blank | Parsed::Foreign | Parsed::Newer(_) => Look::Whole(None),
        Parsed::Torn => Look::Crossed(None),
    })
}
