//! Signs of life: files that a process keeps locked, so that the end of the lock is its end.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::sync::{MutexGuard, PoisonError};

use tenure_core::Owner;

use super::Fault;
use super::model::Model;
use super::record::unanswered;

/// How somebody waits: in whatever mode, and to have the name alone.
pub(super) const WAITING: &str = "waiting";
pub(super) const WAITING_ALONE: &str = "alone";

/// The sign of life of one process.
#[derive(Debug)]
pub(super) struct Mark {
    pid: u32,
    name: String,
    _locked: File,
}

impl Model {
    /// The name of this process's sign of life. A forked child makes its own: its copy of its
    /// parent's shows only that the parent lives.
    pub(super) fn mark(&self) -> tenure_core::Result<String> {
        let mut mark = self.own_mark();
        let pid = std::process::id();
        match &*mark {
            Some(known) if known.pid == pid => Ok(known.name.clone()),
            _ => {
                let name = format!("{pid}-{}", Owner::random());
                let path = self.dir().join("alive").join(&name);
                let locked = File::create(path).and_then(|file| file.lock().map(|()| file));
                *mark = Some(Mark { pid, name: name.clone(), _locked: locked.map_err(unanswered)? });
                Ok(name)
            }
        }
    }

    /// Whether the process with this sign of life lives.
    pub(super) fn lives(&self, mark: &str) -> bool {
        let file = self.dir().join("alive").join(mark);
        self.has(Fault::SessionsOutliveTheDead) || is_refused(&file, File::try_lock_shared)
    }

    /// Whether a sign of life is one of this process, which has one in every handle.
    pub(super) fn is_of_this_process(&self, mark: &str) -> bool {
        mark.split('-').next() == Some(&std::process::id().to_string())
    }

    /// Whether this process is a child of the one with this sign of life, forked since it made it.
    pub(super) fn is_child_of(&self, mark: &str) -> bool {
        let own = self.own_mark();
        own.as_ref().is_some_and(|own| own.name == mark && own.pid != std::process::id())
    }

    /// Shows other processes that somebody waits for a name, in such a way, for as long as the file is
    /// open.
    pub(super) fn wait_visibly(&self, path: &Path, way: &str) -> Option<File> {
        let file = File::create(path.with_extension(way)).ok()?;
        // Whoever is looking right now is gone in a moment.
        file.lock_shared().is_ok().then_some(file)
    }

    /// Whether anybody waits for a name in such a way.
    pub(super) fn is_waited_for(&self, path: &Path, way: &str) -> bool {
        is_refused(&path.with_extension(way), File::try_lock)
    }

    fn own_mark(&self) -> MutexGuard<'_, Option<Mark>> {
        self.mark_slot().lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether somebody has a lock on a file that does not go together with this one.
pub(super) fn is_refused(path: &Path, lock: fn(&File) -> Result<(), TryLockError>) -> bool {
    let Ok(file) = File::open(path) else { return false };
    match lock(&file) {
        Err(TryLockError::WouldBlock) => true,
        Err(TryLockError::Error(_)) => false,
        Ok(()) => {
            // Closing is not enough where a child was forked meanwhile.
            let _ = file.unlock();
            false
        }
    }
}
