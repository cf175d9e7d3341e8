//! Waking waiters: one thread of each process looks at the records that somebody here waits for.
//!
//! It stands for what a store pushes. All that it ever says is that a name may be free.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use tenure_core::Backend;

use super::Fault;
use super::model::Model;
use super::record::peek;

/// The names that are looked at.
#[derive(Clone, Debug, Default)]
pub(super) struct Lookout(Arc<Mutex<Watched>>);

#[derive(Debug, Default)]
struct Watched {
    by_key: HashMap<String, (PathBuf, u32)>,
    /// The process whose thread looks; there is none while nothing is watched.
    pid: Option<u32>,
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
        watched.by_key.entry(key.into()).or_insert((path, 0)).1 += 1;
        if watched.pid != Some(std::process::id()) {
            let model = self.downgrade();
            let started = thread::Builder::new().name("model-lookout".into()).spawn(move || watch(&model));
            // Without a thread, waiters ask now and then.
            watched.pid = started.is_ok().then(std::process::id);
        }
        registration
    }

    fn look(&self, key: &str, path: &Path) {
        // A look that crosses a change says that it may be free, which is harmless.
        let taken = peek(path).is_some_and(|record| self.holder(&record).is_some());
        if !taken {
            self.site().notify(key);
        }
    }
}

fn watch(model: &Weak<super::model::Inner>) {
    while let Some(model) = Model::upgrade(model) {
        let pause = if model.has(Fault::NotifiesLate) { 350 } else { 1 };
        thread::sleep(Duration::from_millis(pause));
        let names: Vec<_> = {
            let mut watched = model.lookout().lock();
            if watched.by_key.is_empty() {
                watched.pid = None;
                return;
            }
            watched.by_key.iter().map(|(key, (path, _))| (key.clone(), path.clone())).collect()
        };
        names.iter().for_each(|(key, path)| model.look(key, path));
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
        if let Some((_, waits)) = watched.by_key.get_mut(&self.key) {
            *waits -= 1;
            if *waits == 0 {
                watched.by_key.remove(&self.key);
            }
        }
    }
}
