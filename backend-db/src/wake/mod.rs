//! Hearing that locks may be free.

#[cfg(feature = "postgres")]
pub(crate) mod listen;
#[cfg(feature = "mysql")]
pub(crate) mod room;
#[cfg(feature = "sqlite")]
pub(crate) mod side_file;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub(crate) mod waited;

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use tenure_core::Result;

use crate::key::Key;
use crate::table::Table;

/// How waiters of other processes are told, and those of this one hear of it.
pub(crate) trait Wake: Send + Sync {
    /// Whether whoever releases a lock must know that somebody waits.
    fn needs_marks(&self) -> bool;

    /// Promises to tell of a lock, until what is returned is dropped; nothing if it cannot.
    ///
    /// # Errors
    ///
    /// `Unavailable` if nobody listens within the time.
    fn watch(&self, key: &Key, whole: &str, patience: Duration)
    -> Result<Option<Box<dyn Any + Send + Sync>>>;

    /// This process has got a lock, for which others wait or not.
    fn granted(&self, key: &Key, is_awaited: bool) {
        let _ = (key, is_awaited);
    }

    /// This process has asked for a lock that somebody else has.
    fn denied(&self, key: &Key) {
        let _ = key;
    }

    /// This process has let go of a lock, for which others wait as far as is known.
    fn released(&self, key: &Key, is_awaited: bool);
}

/// What listens in one process. A forked child starts its own.
pub(crate) struct Here<T> {
    pid: u32,
    listener: T,
}

/// The listener of this process.
pub(crate) type Slot<T> = std::sync::Mutex<Option<Arc<Here<T>>>>;

/// The listener of this process, started if need be.
pub(crate) fn here<T>(slot: &Slot<T>, start: impl FnOnce() -> Result<T>) -> Result<Arc<Here<T>>> {
    let mut slot = slot.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let pid = std::process::id();
    if let Some(here) = slot.as_ref().filter(|here| here.pid == pid) {
        return Ok(here.clone());
    }
    let here = Arc::new(Here { pid, listener: start()? });
    if let Some(parents) = slot.replace(here.clone()) {
        // Its threads are not here, and what it would say as it ends is for its own process.
        std::mem::forget(parents);
    }
    Ok(here)
}

impl<T> std::ops::Deref for Here<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.listener
    }
}

/// What is listened to for the locks of a table.
pub(crate) fn channel(table: &Table) -> String {
    let name = table.full();
    // Postgres takes names of up to 63 bytes.
    if name.len() <= 60 { name } else { format!("tenure_{}", Key::new(&name).payload()) }
}
