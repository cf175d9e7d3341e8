//! Threads that take a lock as fast as they can while another scribbles on its record.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use tenure_core::{Held, Lock, Owner};

use super::damage::{Damage, Past, damages};
use super::{cases, open, record_of};
use crate::Files;

const MAX_TTL: Duration = Duration::from_millis(20);
const WORKERS: usize = 3;
/// So many grants that something was tested.
const ENOUGH: u32 = 50;

/// What each worker holds.
type Slots = [Mutex<Option<Lock<Files, Held>>>; WORKERS];

#[test]
fn threads_never_overlap_while_somebody_scribbles_on_the_record() {
    let folder = tempfile::tempdir().expect("a folder for the test");
    // Two handles stand for two processes.
    let handles = [open(folder.path(), MAX_TTL), open(folder.path(), MAX_TTL)];
    let (slots, over, grants) = (Slots::default(), AtomicBool::new(false), AtomicU32::new(0));
    thread::scope(|scope| {
        for worker in 0..WORKERS {
            let lock = Lock::new(&handles[worker % 2], "a");
            let (slots, over, grants) = (&slots, &over, &grants);
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    grants.fetch_add(u32::from(turn(&lock, slots, worker)), Ordering::Relaxed);
                }
            });
        }
        let scribbled = scribble(folder.path(), &grants);
        over.store(true, Ordering::Relaxed);
        assert!(scribbled, "hardly anything was granted in half a minute, so nothing was tested");
    });
}

/// Takes the lock once, if it can be had soon, and sees that nobody else believes in it.
fn turn(lock: &Lock<Files>, slots: &Slots, worker: usize) -> bool {
    let lock = if either() { lock.clone().ttl(MAX_TTL) } else { lock.clone().session() };
    let held = match lock.acquire_for(MAX_TTL * 2) {
        Ok(held) => held,
        Err(error) => {
            let told = error.is_timed_out() || error.is_quarantined() || error.is_misconfigured();
            assert!(told || error.to_string().contains("already run out"), "{error}");
            return false;
        }
    };
    // Shown first and looked at then, so that of two that overlap one at least sees the other.
    *slot(slots, worker) = Some(held);
    for other in (0..WORKERS).filter(|other| *other != worker) {
        let theirs = slot(slots, other);
        assert!(!theirs.as_ref().is_some_and(|held| held.is_held()), "two hold it: {theirs:?} as well");
    }
    thread::sleep(Duration::from_micros(if either() { 1 } else { 500 }));
    let held = slot(slots, worker).take();
    if let Some(Err(error)) = held.map(Lock::release) {
        assert!(error.is_lost() || error.is_misconfigured(), "{error}");
    }
    true
}

fn slot(slots: &Slots, worker: usize) -> MutexGuard<'_, Option<Lock<Files, Held>>> {
    slots[worker].lock().unwrap_or_else(PoisonError::into_inner)
}

fn either() -> bool {
    Owner::random().to_bytes()[0] & 1 == 0
}

/// Damages the record again and again, without any lock; and puts an older one in its place, so that
/// one which nobody may write to, as that of another name, does not stay there. False if hardly
/// anything is granted meanwhile.
fn scribble(folder: &Path, grants: &AtomicU32) -> bool {
    let (config, start) = (cases(1), Instant::now());
    let enough = Duration::from_millis(5) * config.cases;
    let mut runner = TestRunner::new(config);
    let bursts = (vec((damages(), 0..2000_u64), 1..4), any::<Index>(), 0..25_000_u64);
    let micros = |pause| thread::sleep(Duration::from_micros(pause));
    let (record, mut past) = (record_of(folder, "a"), Past::default());
    while start.elapsed() < enough || grants.load(Ordering::Relaxed) < ENOUGH {
        if start.elapsed() > enough + Duration::from_secs(30) {
            return false;
        }
        let (burst, which, pause) = bursts.new_tree(&mut runner).expect("nothing is filtered").current();
        for (damage, gap) in burst {
            damage.act(&record, &past);
            micros(gap);
        }
        micros(pause);
        Damage::Older(which).act(&record, &past);
        micros(pause);
        if past.older.len() >= 16 {
            past.older.swap_remove(which.index(past.older.len()));
        }
        past.older.extend(fs::read(&record));
    }
    true
}
