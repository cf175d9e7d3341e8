//! The listeners of a process: one, or one at each node of a cluster where a lock lies that somebody
//! waits for.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tenure_core::Result;

use crate::ear::Hearing;
use crate::keys::Keys;
use crate::listener::{Ears, Listener};
use crate::pool::Tracker;
use crate::waited::Registration;

/// All listeners of a store in one process.
pub(crate) struct Listeners {
    hearing: Arc<dyn Hearing>,
    ears: Ears,
    /// By the number of the server.
    all: Mutex<HashMap<u64, Arc<Listener>>>,
}

impl Listeners {
    pub(crate) fn new(hearing: Arc<dyn Hearing>, ears: Ears) -> Self {
        Self { hearing, ears, all: Mutex::default() }
    }

    /// Promises to notify of a lock, once somebody listens where it lies.
    ///
    /// # Errors
    ///
    /// `Unavailable` if nobody could connect.
    pub(crate) fn register(&self, key: &str, keys: &Keys, patience: Duration) -> Result<Registration> {
        self.wait_until_it_listens(keys, patience)?;
        Ok(self.ears.waited.clone().register(key, keys))
    }

    /// Waits until somebody listens where a lock lies.
    ///
    /// # Errors
    ///
    /// `Unavailable` if nobody could connect.
    pub(crate) fn wait_until_it_listens(&self, keys: &Keys, patience: Duration) -> Result<()> {
        self.listener(keys)?.1.listening(patience)
    }

    /// Whom the server is to tell of a key's change, if anybody here waits for that lock.
    pub(crate) fn tracker(&self, keys: &Keys) -> Option<Tracker> {
        if !self.is_awaited(keys) {
            return None;
        }
        // Another node may serve the lock by now; as soon as somebody listens there all ask again.
        let (server, listener) = self.listener(keys).ok()?;
        listener.client().map(|client| Tracker { server, client })
    }

    /// Whether anybody in this process waits for a lock.
    pub(crate) fn is_awaited(&self, keys: &Keys) -> bool {
        self.ears.waited.is_awaited(keys)
    }

    fn listener(&self, keys: &Keys) -> Result<(u64, Arc<Listener>)> {
        let server = self.hearing.server(keys.own())?;
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(listener) = all.get(&server) {
            return Ok((server, listener.clone()));
        }
        // Nobody waits at nodes that serve nothing any more.
        all.retain(|server, _| self.hearing.serves(*server));
        let hearing = self.hearing.clone();
        let listener = Arc::new(Listener::start(hearing, server, self.ears.clone())?);
        all.insert(server, listener.clone());
        Ok((server, listener))
    }
}
