//! Removing the files of names that were not used for long.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::thread;
use std::time::{Duration, SystemTime};

use nix::libc;
use tenure_core::{Fence, Moment, Owner, Result};

use crate::Files;
use crate::config::Folder;
use crate::entry::{set_lock, unavailable};
use crate::record::{Standing, State};

/// What a collection did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Collected {
    /// Files that were removed.
    pub removed: usize,
    /// Files that stayed: in use, or used too recently.
    pub kept: usize,
}

/// How long a name was not used before its file is removed without being asked.
const UNUSED: Duration = Duration::from_secs(24 * 3600);

/// Where the highest fence of all removed files stands.
const FLOOR: &str = ".floor";

impl Files {
    /// Removes the files of locks that are free and were not used for `unused`.
    ///
    /// Safe beside processes that use the store: a file is removed only under its mutex, and whoever
    /// opened it before sees then that it is gone and opens a new one. Fences go on growing, for the
    /// highest one removed is remembered. Stores do this by themselves now and then for files that
    /// were not used for a day.
    ///
    /// # Errors
    ///
    /// `Unavailable` if the folder cannot be read or written.
    pub fn collect(&self, unused: Duration) -> Result<Collected> {
        let mut collected = Collected::default();
        for key in self.keys()? {
            match self.collect_one(&key, unused) {
                Ok(true) => collected.removed += 1,
                // One bad file must not keep the others.
                Ok(false) | Err(_) => collected.kept += 1,
            }
        }
        Ok(collected)
    }

    /// Makes room in the background, about once in 256 new files: folders in which names come and
    /// go do not grow for ever.
    pub(crate) fn collect_now_and_then(&self) {
        if Owner::random().to_bytes()[0] == 0 {
            let store = self.clone();
            // Without a thread to be had, the next one does it.
            drop(thread::Builder::new().name("tenure-collect".into()).spawn(move || store.collect(UNUSED)));
        }
    }

    fn collect_one(&self, key: &str, unused: Duration) -> Result<bool> {
        let Some(entry) = self.find(key)? else { return Ok(false) };
        let Some(locked) = entry.lock()? else { return Ok(false) };
        let failed = |error| unavailable("its file cannot be examined", error);
        let about = entry.file().metadata().map_err(failed)?;
        let age = about.modified().ok().and_then(|used| SystemTime::now().duration_since(used).ok());
        if age.is_none_or(|age| age < unused) {
            return Ok(false);
        }
        let mut record = self.record(&entry, &locked)?;
        if self.standing(&locked, &record, Moment::now()) != Standing::Free {
            return Ok(false);
        }
        let path = self.folder().path_of(key);
        let named = fs::symlink_metadata(&path).map_err(failed)?;
        if (named.dev(), named.ino()) != (about.dev(), about.ino()) {
            return Ok(false);
        }
        raise_floor(self.folder(), record.fence)?;
        // Whoever has the file open sees under its mutex that it is no more.
        record.state = State::Retired;
        locked.write(&record)?;
        fs::remove_file(&path).map_err(|error| unavailable("its file cannot be removed", error))?;
        Ok(true)
    }
}

/// The fence that a new file begins above.
pub(crate) fn floor(folder: &Folder) -> Result<Fence> {
    match folder.open_path(&folder.path.join(FLOOR), false)? {
        Some(file) => read(&file),
        None => Ok(Fence::ZERO),
    }
}

fn raise_floor(folder: &Folder, fence: Fence) -> Result<()> {
    let Some(file) = folder.open_path(&folder.path.join(FLOOR), true)? else { return Ok(()) };
    // Byte 0 is its mutex, freed when the file is closed here.
    while let Err(errno) = set_lock(&file, 0, libc::F_WRLCK, 1) {
        if errno != nix::errno::Errno::EAGAIN {
            return Err(unavailable("the highest fence cannot be kept", errno.into()));
        }
        thread::sleep(Duration::from_micros(100));
    }
    if read(&file)? < fence {
        let text = format!("{:020}\n", fence.get());
        file.write_all_at(text.as_bytes(), 0)
            .map_err(|error| unavailable("the highest fence cannot be kept", error))?;
    }
    Ok(())
}

fn read(file: &File) -> Result<Fence> {
    let mut text = [b' '; 20];
    match file.read_at(&mut text, 0) {
        Ok(_) => Ok(String::from_utf8_lossy(&text).trim().parse().unwrap_or_default()),
        Err(error) => Err(unavailable("the highest fence cannot be read", error)),
    }
}
