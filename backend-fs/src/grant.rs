//! What is kept of a grant: the alive byte.

use std::fmt;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::entry::{Entry, Inside};
use crate::ofd::{self, Range};

/// A grant of a lock in a file: the locked byte that shows that its holder lives.
///
/// It ends with the process, however that ends; then the lock is free at once, unless it was
/// acquired with `release_on_drop(false)`.
pub struct FileGrant(Arc<Inner>);

struct Inner {
    entry: Arc<Entry>,
    seq: u64,
    session: Option<Arc<File>>,
    ended: AtomicBool,
}

impl FileGrant {
    /// A grant whose alive byte the entry has counted already, or that is a session's.
    pub(crate) fn new(entry: Arc<Entry>, seq: u64, session: Option<Arc<File>>) -> Self {
        Self(Arc::new(Inner { entry, seq, session, ended: AtomicBool::new(false) }))
    }

    /// The same grant, for a thread that works on it; it ends with the last of them.
    pub(crate) fn share(&self) -> Self {
        Self(self.0.clone())
    }

    /// The descriptor of a session lock, for a child process to inherit; `None` for a lock with a
    /// lease.
    ///
    /// It is closed on `exec`; hand the child a duplicate that is not. While any process has a copy
    /// open the lock stays taken, even when the one that acquired it has died. A release by the
    /// latter frees it at once nevertheless.
    #[must_use]
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.0.session.as_ref().map(|file| file.as_fd())
    }

    pub(crate) fn entry(&self) -> &Arc<Entry> {
        &self.0.entry
    }

    /// Unlocks the alive byte, after the record says that the grant has ended.
    pub(crate) fn end(&self, inside: Inside<'_>) {
        self.0.ended.store(true, Ordering::Relaxed);
        match &self.0.session {
            Some(file) => ofd::unlock(file, Range::ALL),
            None if std::ptr::eq(inside.entry, &*self.0.entry) => inside.end(self.0.seq),
            // A forked child: the byte is its parent's.
            None => {}
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // A forked child shares the description: unlocking would end the parent's grant.
        if !*self.ended.get_mut() && self.session.is_none() && self.entry.process.pid == std::process::id() {
            self.entry.leave(self.seq);
        }
    }
}

impl fmt::Debug for FileGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileGrant")
            .field("file", &self.0.entry.file_name)
            .field("seq", &self.0.seq)
            .field("session", &self.0.session.is_some())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Process;

    #[test]
    fn a_grant_ends_with_its_owner_and_not_with_a_forked_copy() -> tenure_core::Result<()> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("record");
        let outside = File::create(&path).unwrap();
        for (pid, stays) in [(std::process::id(), false), (1, true)] {
            let file = File::options().read(true).write(true).open(&path).unwrap();
            let entry = Arc::new(Entry::new("a", "record", file, Process { pid, start: 0 }));
            assert!(entry.enter()?.come_alive(3, 7)?);
            drop(FileGrant::new(entry.clone(), 7, None));
            assert_eq!(ofd::is_locked(&outside, Range::alive(7)).unwrap(), stays);
        }
        Ok(())
    }
}
