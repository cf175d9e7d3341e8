//! Removing record files of names that nobody has used for long.

use std::thread;
use std::time::{Duration, SystemTime};

use nix::fcntl::OFlag;
use nix::unistd::{UnlinkatFlags, unlinkat};
use tenure_core::{Claim, Fence, Moment, Result, wall_micros};

use crate::Files;
use crate::entry::{Entry, refused};
use crate::record::{Parsed, Process, Record, Standing, State};
use crate::store::Store;

/// What a collection did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    removed: u64,
    kept: u64,
}

impl Collected {
    /// How many record files were removed.
    #[must_use]
    pub fn removed(&self) -> u64 {
        self.removed
    }

    /// How many stayed: in use, used lately, or not to be looked into.
    #[must_use]
    pub fn kept(&self) -> u64 {
        self.kept
    }
}

impl Files {
    /// Removes the record files of names that are free and were not used for this long, by the wall
    /// clock.
    ///
    /// It may run at any time and next to others, and never makes two holders: a file is marked
    /// under its record lock before it is removed, so that whoever has it open opens the new one,
    /// and the fences of later grants stay above those of the removed files. A store in which names
    /// come and go needs it now and then, for a file takes 4 KiB on most disks.
    ///
    /// # Errors
    ///
    /// `Unavailable` if the folder cannot be read or a file not be removed; what was removed by then
    /// stays removed.
    pub fn collect(&self, unused_for: Duration) -> Result<Collected> {
        let mut collected = Collected::default();
        let mut floor = Fence::ZERO;
        for file_name in self.0.file_names()? {
            match self.0.collect_one(&file_name, unused_for, &mut floor)? {
                true => collected.removed += 1,
                false => collected.kept += 1,
            }
        }
        Ok(collected)
    }

    /// Makes room in the background, about once in 256 new names: a folder in which names come and
    /// go does not grow for ever.
    pub(crate) fn collect_now_and_then(&self, claim: &Claim) {
        if claim.owner().to_bytes()[0] == 0 {
            let files = self.clone();
            // Without a thread to be had, a later one does it.
            drop(thread::Builder::new().name("tenure-collect".into()).spawn(move || files.collect(UNUSED)));
        }
    }
}

/// How long a name was not used before its file is removed without anybody asking.
const UNUSED: Duration = Duration::from_secs(24 * 3600);

impl Store {
    fn collect_one(&self, file_name: &str, unused_for: Duration, floor: &mut Fence) -> Result<bool> {
        let Ok(Some(file)) = self.open_file(file_name, OFlag::O_RDWR) else { return Ok(false) };
        // Its key is not needed: nothing is granted here.
        let entry = Entry::new("", file_name, file, Process::default());
        if !self.is_unused(&entry, unused_for)? {
            return Ok(false);
        }
        let Ok(inside) = entry.enter() else { return Ok(false) };
        // Again, now that nobody can take it.
        if !self.is_unused(&entry, unused_for)? || !self.is_named(file_name, &entry.file)? {
            return Ok(false);
        }
        let Some(mut record) = self.free_record(&entry)? else { return Ok(false) };
        if record.fence > *floor {
            // High enough for the files to come as well, most of the time.
            *floor = record.fence.max(Fence::new(wall_micros()));
            self.raise_floor(*floor)?;
        }
        record.state = State::Retired;
        record.owner = None;
        inside.write(&record)?;
        unlinkat(&self.dir, file_name, UnlinkatFlags::NoRemoveDir)
            .map_err(|errno| refused("a record file could not be removed", errno.into()))?;
        Ok(true)
    }

    fn is_unused(&self, entry: &Entry, unused_for: Duration) -> Result<bool> {
        let looked = |source| refused("the record cannot be looked at", source);
        let used = entry.file.metadata().and_then(|found| found.modified()).map_err(looked)?;
        let unused = SystemTime::now().duration_since(used).is_ok_and(|age| age >= unused_for);
        Ok(unused && self.free_record(entry)?.is_some())
    }

    /// The record, if nobody holds it or counts on it.
    fn free_record(&self, entry: &Entry) -> Result<Option<Record>> {
        let Parsed::Record(record) = entry.peek()? else { return Ok(None) };
        let free = match record.standing(Moment::now(), self.boot) {
            // A collector that died over it left the mark.
            Standing::Free | Standing::Retired => true,
            Standing::Held { alive, .. } => alive.is_some(),
            Standing::Quarantined(_) | Standing::Impossible => false,
        };
        // Any live holder, also one that lost its lease and does not know it yet.
        Ok((free && !entry.is_anyone_alive()?).then_some(record))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tenure_core::Lock;

    #[test]
    fn fences_stay_above_those_of_removed_files_when_the_clock_goes_back() -> Result<()> {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::open(dir.path().join("locks"))?;
        let far = Fence::new(wall_micros() + 1_000_000_000_000);
        let (entry, _) = files.0.open("lock:a")?;
        entry.enter()?.create(&Record::new("lock:a", far))?;
        assert_eq!(files.collect(Duration::ZERO)?, Collected { removed: 1, kept: 0 });
        for name in ["a", "b"] {
            assert!(Lock::new(&files, name).try_acquire()?.fence() > far, "{name}");
        }
        Ok(())
    }
}
