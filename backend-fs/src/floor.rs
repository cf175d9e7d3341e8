//! The store's fence floor: what keeps fences growing for names whose record files were removed.

use std::fs::File;
use std::os::unix::fs::FileExt;

use nix::fcntl::OFlag;
use tenure_core::{Fence, Result};

use crate::entry::{Entry, read_at, refused};
use crate::record::{NUMBERS, Process, sum};
use crate::store::Store;

/// Not the name of a record file: those never start with a dot.
const FILE: &str = ".floor";
const LEN: usize = 16;

impl Store {
    /// No fence of a removed record was above this one.
    pub(crate) fn floor(&self) -> Result<Fence> {
        match self.open_file(FILE, OFlag::O_RDONLY)? {
            Some(file) => read(&file),
            None => Ok(Fence::ZERO),
        }
    }

    /// Makes the floor at least `fence`, before the record that holds that fence is removed.
    pub(crate) fn raise_floor(&self, fence: Fence) -> Result<()> {
        let file = self.open_file(FILE, OFlag::O_RDWR | OFlag::O_CREAT)?;
        let file = file.expect("it is made if it is not there");
        // One at a time, by the same byte as in a record.
        let entry = Entry::new("", FILE, file, Process::default());
        let _inside = entry.enter()?;
        if read(&entry.file)? < fence {
            let mut bytes = fence.get().to_le_bytes().to_vec();
            bytes.extend(sum(&bytes).to_le_bytes());
            entry
                .file
                .write_all_at(&bytes, 0)
                .map_err(|source| refused("the fence floor could not be written", source))?;
        }
        Ok(())
    }
}

/// A floor that is not whole is none: fences then start from the wall clock.
fn read(file: &File) -> Result<Fence> {
    // A reader may cross the writer; the second look then does not.
    for _ in 0..3 {
        let mut bytes = [0; LEN];
        let len = read_at(file, &mut bytes, 0)?;
        let (fence, stored) = bytes.split_at(8);
        if len == LEN && sum(fence).to_le_bytes() == *stored {
            let mut number = [0; 8];
            number.copy_from_slice(fence);
            let number = u64::from_le_bytes(number);
            // Beyond the end of the numbers it is not the fence of any record.
            return Ok(if number < NUMBERS { Fence::new(number) } else { Fence::ZERO });
        }
    }
    Ok(Fence::ZERO)
}
