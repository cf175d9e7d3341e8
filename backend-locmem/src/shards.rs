//! The table of entries, cut into pieces so that threads rarely meet.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::{Arc, PoisonError};

// Chance would keep a model's schedule from being repeated.
#[cfg(tenure_shuttle)]
use foldhash::fast::FixedState as RandomState;
#[cfg(not(tenure_shuttle))]
use foldhash::fast::RandomState;
use tenure_core::Site;

use crate::entry::Entry;
use crate::sync::{Mutex, MutexGuard};

const SHARDS: usize = 64;

/// How many idle entries a shard keeps before it looks which ones it can forget.
const IDLE: usize = 256;

/// Entries by key.
pub(crate) struct Shards {
    /// The handle that the store was made with; most locks come through it.
    first: Site,
    hasher: RandomState,
    shards: [Mutex<Shard>; SHARDS],
}

#[derive(Default)]
struct Shard {
    entries: HashMap<Box<str>, Arc<Entry>, RandomState>,
    /// At this size idle entries are looked for.
    sweep_at: usize,
}

impl Shards {
    pub(crate) fn new(first: Site) -> Self {
        Self { first, hasher: RandomState::default(), shards: std::array::from_fn(|_| Mutex::default()) }
    }

    /// The site of the handle that the store was made with.
    pub(crate) fn first(&self) -> &Site {
        &self.first
    }

    /// The entry of a key, made if need be.
    pub(crate) fn entry(&self, key: &str) -> Arc<Entry> {
        let mut shard = self.shard(key);
        if let Some(entry) = shard.entries.get(key) {
            return entry.clone();
        }
        shard.sweep();
        let entry = Arc::new(Entry::new(key));
        shard.entries.insert(key.into(), entry.clone());
        entry
    }

    /// The entry of a key, if there is one.
    pub(crate) fn find(&self, key: &str) -> Option<Arc<Entry>> {
        self.shard(key).entries.get(key).cloned()
    }

    /// All entries whose keys begin with `prefix`.
    pub(crate) fn starting_with(&self, prefix: &str) -> Vec<Arc<Entry>> {
        let matching = |shard: &Mutex<Shard>| -> Vec<_> {
            let shard = lock(shard);
            let entries = shard.entries.iter().filter(|(key, _)| key.starts_with(prefix));
            entries.map(|(_, entry)| entry.clone()).collect()
        };
        self.shards.iter().flat_map(matching).collect()
    }

    fn shard(&self, key: &str) -> MutexGuard<'_, Shard> {
        let index = self.hasher.hash_one(key) % SHARDS as u64;
        lock(&self.shards[usize::try_from(index).expect("below 64")])
    }

    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).entries.len()).sum()
    }
}

impl Shard {
    /// Forgets entries that nobody holds, waits for or has at hand; fences do not depend on them.
    fn sweep(&mut self) {
        if self.entries.len() < self.sweep_at.max(IDLE) {
            return;
        }
        // A new reference can only come from this table, which is locked.
        self.entries.retain(|_, entry| Arc::strong_count(entry) > 1 || entry.is_in_use());
        self.sweep_at = self.entries.len() * 2;
    }
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}
