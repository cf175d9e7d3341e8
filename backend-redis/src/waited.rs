//! Which locks this process waits for, and which keys' changes concern them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tenure_core::Site;

use crate::keys::{Keys, Sibling};

/// The locks that waiters of this process wait for.
pub(crate) struct Waited {
    site: Site,
    names: Mutex<Names>,
}

/// Under each key whose change concerns a lock: the lock.
type Names = HashMap<Vec<u8>, Name>;

struct Name {
    key: Box<str>,
    registrations: u32,
}

/// One promise to notify; ends when dropped, without waiting for anything.
pub(crate) struct Registration {
    waited: Arc<Waited>,
    keys: [Vec<u8>; 2],
}

impl Waited {
    pub(crate) fn new(site: Site) -> Arc<Self> {
        Arc::new(Self { site, names: Mutex::default() })
    }

    /// Whose locks these are.
    #[cfg(feature = "async")]
    pub(crate) fn site(&self) -> &Site {
        &self.site
    }

    /// Whether anybody in this process waits for a lock.
    pub(crate) fn is_awaited(&self, keys: &Keys) -> bool {
        self.names().contains_key(keys.own())
    }

    pub(crate) fn register(self: Arc<Self>, key: &str, keys: &Keys) -> Registration {
        let concerned = [keys.own().to_vec(), keys.sibling(Sibling::Writer)];
        let mut names = self.names();
        for concerned in &concerned {
            let fresh = || Name { key: key.into(), registrations: 0 };
            names.entry(concerned.clone()).or_insert_with(fresh).registrations += 1;
        }
        drop(names);
        Registration { waited: self, keys: concerned }
    }

    /// The server says that a key has changed.
    pub(crate) fn changed(&self, key: &[u8]) {
        let name = self.names().get(key).map(|name| name.key.clone());
        if let Some(name) = name {
            self.site.notify(&name);
        }
    }

    /// Anything may have changed.
    pub(crate) fn all_changed(&self) {
        self.site.notify_all();
    }

    fn names(&self) -> MutexGuard<'_, Names> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut names = self.waited.names();
        for key in &self.keys {
            if let Some(name) = names.get_mut(key) {
                name.registrations -= 1;
                if name.registrations == 0 {
                    names.remove(key);
                }
            }
        }
    }
}
