//! What locks protect, in a test: a value that only ever goes up by one, behind a comparison of fences.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tenure_core::{Fence, Owner};

/// A resource that compares fences, for the threads and processes of a host.
///
/// Reading counts as well as writing: whoever reads in order to write what follows from it shuts out all
/// who came before, or their writes would be lost.
#[derive(Debug)]
pub struct Gate {
    state: File,
    log: File,
}

/// One that came to a gate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pass {
    owner: Owner,
    fence: u64,
    accepted: bool,
    wrote: Option<u64>,
}

impl Gate {
    /// Opens the gate of a name, which is a plain word, in a folder.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    pub fn open(folder: &Path, name: &str) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        let state =
            options.read(true).write(true).create(true).truncate(false).open(path(folder, name, "gate"))?;
        let log = OpenOptions::new().append(true).create(true).open(path(folder, name, "log"))?;
        Ok(Self { state, log })
    }

    /// The value, for an owner with this fence; `None` if a larger one has been here.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    pub fn read(&mut self, owner: Owner, fence: Fence) -> io::Result<Option<u64>> {
        self.pass(owner, fence, None)
    }

    /// Writes a value; tells whether it was let through.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    pub fn write(&mut self, owner: Owner, fence: Fence, value: u64) -> io::Result<bool> {
        Ok(self.pass(owner, fence, Some(value))?.is_some())
    }

    /// All that came to the gate of a name, in order.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    pub fn passes(folder: &Path, name: &str) -> io::Result<Vec<Pass>> {
        match fs::read_to_string(path(folder, name, "log")) {
            Ok(text) => text.lines().map(|line| Ok(serde_json::from_str(line)?)).collect(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    fn pass(&mut self, owner: Owner, fence: Fence, wrote: Option<u64>) -> io::Result<Option<u64>> {
        self.state.lock()?;
        let passed = self.pass_alone(owner, fence.get(), wrote);
        self.state.unlock()?;
        passed
    }

    fn pass_alone(&mut self, owner: Owner, fence: u64, wrote: Option<u64>) -> io::Result<Option<u64>> {
        let (largest, value) = self.state()?;
        let accepted = fence >= largest;
        if accepted {
            self.state.seek(SeekFrom::Start(0))?;
            // Fixed width, so that a shorter text leaves nothing of a longer one.
            write!(self.state, "{fence:020} {:020}", wrote.unwrap_or(value))?;
        }
        let pass = Pass { owner, fence, accepted, wrote };
        writeln!(self.log, "{}", serde_json::to_string(&pass)?)?;
        Ok(accepted.then_some(value))
    }

    /// The largest fence that was here, and the value.
    fn state(&mut self) -> io::Result<(u64, u64)> {
        let mut text = String::new();
        self.state.seek(SeekFrom::Start(0))?;
        self.state.read_to_string(&mut text)?;
        if text.is_empty() {
            return Ok((0, 0));
        }
        let state =
            text.split_once(' ').and_then(|(fence, value)| Some((fence.parse().ok()?, value.parse().ok()?)));
        state.ok_or_else(|| io::Error::other(format!("the gate is torn: {text:?}")))
    }
}

impl Pass {
    #[cfg(test)]
    pub(super) fn accepted(owner: Owner, fence: u64, wrote: Option<u64>) -> Self {
        Self { owner, fence, accepted: true, wrote }
    }

    /// Who came.
    #[must_use]
    pub fn owner(&self) -> Owner {
        self.owner
    }

    /// With which fence.
    #[must_use]
    pub fn fence(&self) -> Fence {
        Fence::new(self.fence)
    }

    /// Whether it was let through.
    #[must_use]
    pub fn is_accepted(&self) -> bool {
        self.accepted
    }

    /// What it wanted to write; `None` if it read.
    #[must_use]
    pub fn wrote(&self) -> Option<u64> {
        self.wrote
    }
}

fn path(folder: &Path, name: &str, kind: &str) -> PathBuf {
    folder.join(format!("{name}.{kind}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_smaller_fence_is_refused_once_a_larger_one_has_read_or_written() {
        let dir = tempfile::tempdir().unwrap();
        let mut gate = Gate::open(dir.path(), "a").unwrap();
        let (old, new) = (Owner::random(), Owner::random());
        let (one, two) = (Fence::new(1), Fence::new(2));
        assert_eq!(gate.read(old, one).unwrap(), Some(0));
        assert!(gate.write(old, one, 1).unwrap());
        assert_eq!(gate.read(new, two).unwrap(), Some(1));
        let mut other = Gate::open(dir.path(), "a").unwrap();
        assert!(!other.write(old, one, 2).unwrap() && other.read(old, one).unwrap().is_none());
        assert!(gate.write(new, two, 2).unwrap());
        let passes = Gate::passes(dir.path(), "a").unwrap();
        let accepted: Vec<bool> = passes.iter().map(Pass::is_accepted).collect();
        assert_eq!(accepted, [true, true, true, false, false, true]);
        assert!(Gate::passes(dir.path(), "b").unwrap().is_empty());
    }
}
