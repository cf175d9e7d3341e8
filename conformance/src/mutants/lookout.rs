//! Waking waiters: one thread of each process looks at the records that somebody here waits for.
//!
//! It stands for what a store pushes. All that it ever says is that a name may be free.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use tenure_core::Backend;

use super::Fault;
use super::mark::WAITING_ALONE;
use super::model::Model;
use super::record::peek;

/// The names that are looked at.
#[derive(Clone, Debug, Default)]
pub(super) struct Lookout(Arc<Mutex<Watched>>);

#[derive(Debug, Default)]
struct Watched {
    by_key: HashMap<String, Looked>,
    /// The process whose thread looks; there is none while nothing is watched.
    pid: Option<u32>,
}

/// A name that is looked at.
#[derive(Clone, Debug)]
struct Looked {
    path: PathBuf,
    waits: u32,
    /// How much was in the way when it was looked at last.
    in_the_way: usize,
}

/// One wait for a name; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Registration {
    lookout: Lookout,
    key: String,
}

impl Model {
    /// Notifies of a name until the registration is dropped.
    pub(super) fn look_out(&self, key: &str, path: PathBuf) -> Registration {
        let registration = Registration { lookout: self.lookout().clone(), key: key.into() };
        let mut watched = self.lookout().lock();
        let unseen = Looked { path, waits: 0, in_the_way: usize::MAX };
        watched.by_key.entry(key.into()).or_insert(unseen).waits += 1;
        if watched.pid != Some(std::process::id()) {
            let model = self.downgrade();
            let started = thread::Builder::new().name("model-lookout".into()).spawn(move || watch(&model));
            // Without a thread, waiters ask now and then.
            watched.pid = started.is_ok().then(std::process::id);
        }
        registration
    }

    /// Notifies if there is nothing in the way any more, or less than before.
    fn look(&self, key: &str, looked: &Looked) {
        // A look that crosses a change says that it may be free, which is harmless.
        let holders = peek(&looked.path)
            .map_or(0, |record| usize::from(self.holder(&record).is_some()) + self.sharers(&record).len());
        let writers = usize::from(holders > 0 && self.is_waited_for(&looked.path, WAITING_ALONE));
        let in_the_way = holders + writers;
        if let Some(looked) = self.lookout().lock().by_key.get_mut(key) {
            looked.in_the_way = in_the_way;
        }
        if holders == 0 || in_the_way < looked.in_the_way {
            self.site().notify(key);
        }
    }
}

fn watch(model: &Weak<super::model::Inner>) {
    while let Some(model) = Model::upgrade(model) {
        let pause = if model.has(Fault::NotifiesLate) { 350 } else { 1 };
        thread::sleep(Duration::from_millis(pause));
        let names: Vec<(String, Looked)> = {
            let mut watched = model.lookout().lock();
            if watched.by_key.is_empty() {
                watched.pid = None;
                return;
            }
            watched.by_key.iter().map(|(key, looked)| (key.clone(), looked.clone())).collect()
        };
        names.iter().for_each(|(key, looked)| model.look(key, looked));
    }
}

impl Lookout {
    fn lock(&self) -> MutexGuard<'_, Watched> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut watched = self.lookout.lock();
        if let Some(looked) = watched.by_key.get_mut(&self.key) {
            looked.waits -= 1;
            if looked.waits == 0 {
                watched.by_key.remove(&self.key);
            }
        }
    }
}
