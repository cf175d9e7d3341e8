//! Which locks this process waits for.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tenure_core::Site;

use crate::key::Key;

/// The locks that waiters of this process wait for.
pub(crate) struct Waited {
    site: Site,
    names: Mutex<HashMap<u64, Vec<Name>>>,
}

struct Name {
    key: Box<str>,
    registrations: u32,
}

/// One promise to notify; ends when dropped, without waiting for anything.
pub(crate) struct Registration {
    waited: Arc<Waited>,
    number: u64,
    key: Box<str>,
}

impl Waited {
    pub(crate) fn new(site: Site) -> Arc<Self> {
        Arc::new(Self { site, names: Mutex::default() })
    }

    pub(crate) fn register(self: &Arc<Self>, key: &Key, whole: &str) -> Registration {
        let mut names = self.names();
        let same = names.entry(key.number()).or_default();
        match same.iter_mut().find(|name| &*name.key == whole) {
            Some(name) => name.registrations += 1,
            None => same.push(Name { key: whole.into(), registrations: 1 }),
        }
        drop(names);
        Registration { waited: self.clone(), number: key.number(), key: whole.into() }
    }

    /// Locks whose numbers are these may be free.
    pub(crate) fn changed(&self, is_one: impl Fn(u64) -> bool) {
        let names = self.names();
        let numbers = names.iter().filter(|(number, _)| is_one(**number));
        let keys: Vec<Box<str>> = numbers.flat_map(|(_, same)| same).map(|name| name.key.clone()).collect();
        drop(names);
        keys.iter().for_each(|key| self.site.notify(key));
    }

    /// Anything may be free.
    #[cfg(feature = "postgres")]
    pub(crate) fn all_changed(&self) {
        self.site.notify_all();
    }

    fn names(&self) -> MutexGuard<'_, HashMap<u64, Vec<Name>>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut names = self.waited.names();
        let Some(same) = names.get_mut(&self.number) else { return };
        if let Some(place) = same.iter().position(|name| name.key == self.key) {
            same[place].registrations -= 1;
            if same[place].registrations == 0 {
                same.swap_remove(place);
            }
        }
        if same.is_empty() {
            names.remove(&self.number);
        }
    }
}
