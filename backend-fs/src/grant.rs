//! What is kept of a grant: its alive byte.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use crate::entry::Entry;

/// A grant of a [`Files`](crate::Files) store. Dropped unreleased, it stops being marked as alive.
#[derive(Debug)]
pub struct FileGrant {
    pub(crate) entry: Arc<Entry>,
    pub(crate) seq: u64,
    /// A session's own open file description, which other processes may inherit.
    pub(crate) own: Option<File>,
}

impl FileGrant {
    /// The descriptor of a session lock: the lock stays taken for as long as any process has a
    /// copy of it open. `None` for a lock with a lease.
    ///
    /// It is closed on `exec` unless `FD_CLOEXEC` is taken away from it.
    #[must_use]
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.own.as_ref().map(File::as_fd)
    }
}

impl Drop for FileGrant {
    fn drop(&mut self) {
        // A session's byte goes with its last descriptor.
        if self.own.is_none() {
            self.entry.bury(self.seq);
        }
    }
}
