//! Several locks at once, on real stores, by threads, tasks and processes.

#![cfg(all(feature = "fs", feature = "locmem"))]
#![allow(clippy::unwrap_used, reason = "what tests share is a test too")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use tenure::{
    AnyBackend, Attempt, Backend, Claim, Files, Handle, Held, LocMem, Lock, LockAll, Release, Renewal,
    Result, Settings, Site, Watch, aio,
};

const LONG: Duration = Duration::from_secs(120);

#[test]
fn eight_threads_that_take_random_overlapping_sets_never_wait_in_a_circle() {
    let folder = tempfile::tempdir().unwrap();
    let files = Counted::new(Files::open(folder.path()).unwrap());
    let memory = Counted::new(LocMem::for_this_process_only());
    let [any_files, any_memory] = [AnyBackend::new(files.clone()), AnyBackend::new(memory.clone())];
    // The same eight locks for all; a mutex beside each finds two holders out.
    let locks: Vec<_> = ["a", "b", "c", "d"]
        .into_iter()
        .flat_map(|name| [Lock::new(&any_files, name), Lock::new(&any_memory, name)])
        .map(|lock| (lock, Mutex::new(())))
        .collect();
    let granted = AtomicUsize::new(0);
    thread::scope(|scope| {
        for thread in 0..8 {
            let (locks, granted) = (&locks, &granted);
            scope.spawn(move || {
                let mut dice = Dice(thread + 1);
                for _ in 0..150 {
                    let picks = dice.pick(locks.len());
                    let set =
                        LockAll::of(picks.iter().map(|pick| locks[*pick].0.clone()).collect::<Vec<_>>());
                    let held = set.acquire_for(LONG).unwrap();
                    let alone: Vec<_> =
                        picks.iter().map(|pick| locks[*pick].1.try_lock().expect("two holders")).collect();
                    thread::yield_now();
                    granted.fetch_add(held.fences().len(), Ordering::SeqCst);
                    drop(alone);
                    held.release().unwrap();
                }
            });
        }
    });
    // Whoever had to step out of a circle would have let go of something that he had.
    let released = files.released() + memory.released();
    let in_vain = released - granted.into_inner();
    assert!(in_vain <= released / 20, "{in_vain} of {released} grants were let go of in vain");
}

#[test]
fn tasks_and_threads_take_turns_with_sets() {
    let folder = tempfile::tempdir().unwrap();
    let (files, memory) = (Files::open(folder.path()).unwrap(), LocMem::for_this_process_only());
    let alone = Mutex::new(0);
    let work = || {
        let mut count = alone.try_lock().expect("two holders");
        thread::yield_now();
        *count += 1;
    };
    thread::scope(|scope| {
        for _ in 0..4 {
            let (files, memory) = (&files, &memory);
            scope.spawn(move || {
                for _ in 0..50 {
                    let set = LockAll::of((Lock::new(memory, "x"), Lock::new(files, "x")));
                    let held = set.acquire_for(LONG).unwrap();
                    work();
                    held.release().unwrap();
                }
            });
            scope.spawn(move || {
                for _ in 0..50 {
                    let set = aio::LockAll::of((aio::Lock::new(files, "x"), aio::Lock::new(memory, "x")));
                    aio::block_on(async {
                        let held = set.acquire_for(LONG).await.unwrap();
                        work();
                        held.release().await.unwrap();
                    });
                }
            });
        }
    });
    assert_eq!(alone.into_inner().unwrap(), 4 * 2 * 50);
}

#[test]
fn each_member_keeps_its_type_and_its_options() {
    fn write_report(_: &Lock<Files, Held>, cache: &Lock<LocMem, Held>) -> bool {
        cache.deadline().is_some()
    }
    let folder = tempfile::tempdir().unwrap();
    let (files, memory) = (Files::open(folder.path()).unwrap(), LocMem::for_this_process_only());
    let session = Lock::new(&files, "ledger").session();
    let set = LockAll::of((session, Lock::new(&memory, "cache").ttl(LONG)));
    let held = set.acquire().unwrap();
    assert!(write_report(&held.members().0, &held.members().1));
    assert_eq!(held.members().0.deadline(), None, "a session has no lease");
    assert_eq!(held.deadline(), held.members().1.deadline());
    held.release().unwrap();
}

#[test]
fn two_stores_in_memory_are_two_and_two_handles_of_one_are_found_out() {
    let (one, two) = (LocMem::for_this_process_only(), LocMem::for_this_process_only());
    let both = LockAll::of((Lock::new(&one, "x"), Lock::new(&two, "x")));
    both.try_acquire().unwrap().release().unwrap();

    let same = one.share_with_settings(Settings::default());
    let error = LockAll::of((Lock::new(&one, "x"), Lock::new(&same, "x"))).acquire().unwrap_err();
    assert!(error.is_misconfigured() && error.lock() == Some("x"), "{error}");

    let folder = tempfile::tempdir().unwrap();
    let (one, same) = (Files::open(folder.path()).unwrap(), Files::open(folder.path()).unwrap());
    let error = LockAll::of((Lock::new(&one, "x"), Lock::new(&same, "x"))).acquire().unwrap_err();
    assert!(error.is_misconfigured() && error.lock() == Some("x"), "{error}");
    Lock::new(&one, "x").try_acquire().unwrap().release().unwrap();
}

#[test]
fn processes_that_give_the_locks_in_another_order_take_turns() {
    let folder = tempfile::tempdir().unwrap();
    let [one, two] = ["one", "two"].map(|name| folder.path().join(name));
    together(folder.path(), [&one, &two], [&two, &one], 100);
}

#[test]
fn processes_that_name_the_stores_differently_take_turns_too() {
    let folder = tempfile::tempdir().unwrap();
    let [one, two, other] = ["one", "two", "a"].map(|name| folder.path().join(name));
    fs::create_dir(&other).unwrap();
    // By this name, the second store comes before the first.
    let before = other.join("../two");
    together(folder.path(), [&one, &two], [&one, &before], 3);
}

/// Takes both stores' locks in this process and in another one, so many times in each, and counts
/// in a file.
fn together(folder: &Path, ours: [&Path; 2], theirs: [&Path; 2], rounds: usize) {
    fs::write(folder.join("count"), "0").unwrap();
    let mut other = Command::new(std::env::current_exe().unwrap());
    other.args(["--exact", "another_process", "--nocapture"]);
    other.env("OTHER_STORES", std::env::join_paths(theirs).unwrap());
    other.env("OTHER_FOLDER", folder).env("OTHER_ROUNDS", rounds.to_string());
    let mut other = other.spawn().unwrap();
    take_turns(&ours, folder, ["ours", "theirs"], rounds);
    assert!(other.wait().unwrap().success());
    assert_eq!(fs::read_to_string(folder.join("count")).unwrap(), (2 * rounds).to_string());
}

fn take_turns(stores: &[&Path], folder: &Path, [us, them]: [&str; 2], rounds: usize) {
    let stores: Vec<_> = stores.iter().map(|store| Files::open(store).unwrap()).collect();
    let set = LockAll::of(stores.iter().map(|store| Lock::new(store, "x")).collect::<Vec<_>>());
    let count = folder.join("count");
    for round in 0..rounds {
        // Both begin each round together.
        fs::write(folder.join(format!("{us}{round}")), "").unwrap();
        let until = Instant::now() + LONG;
        while !folder.join(format!("{them}{round}")).exists() {
            assert!(Instant::now() < until, "the other process is gone");
            thread::yield_now();
        }
        let held = set.acquire_for(LONG).unwrap();
        let before: usize = fs::read_to_string(&count).unwrap().parse().unwrap();
        thread::sleep(Duration::from_micros(200));
        fs::write(&count, (before + 1).to_string()).unwrap();
        held.release().unwrap();
    }
}

/// What the other process does; nothing in a run of the tests.
#[test]
fn another_process() {
    let Some(stores) = std::env::var_os("OTHER_STORES") else { return };
    let stores: Vec<_> = std::env::split_paths(&stores).collect();
    let stores: Vec<_> = stores.iter().map(PathBuf::as_path).collect();
    let folder = PathBuf::from(std::env::var_os("OTHER_FOLDER").unwrap());
    let rounds = std::env::var("OTHER_ROUNDS").unwrap().parse().unwrap();
    take_turns(&stores, &folder, ["theirs", "ours"], rounds);
}

/// Numbers that look random and are the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % sides
    }

    /// One to four different numbers below `sides`, in any order.
    fn pick(&mut self, sides: usize) -> Vec<usize> {
        let mut all: Vec<_> = (0..sides).collect();
        (0..=self.roll(4)).map(|_| all.swap_remove(self.roll(all.len()))).collect()
    }
}

/// A store that counts releases.
#[derive(Clone)]
struct Counted<B> {
    store: B,
    released: Arc<AtomicUsize>,
}

impl<B> Counted<B> {
    fn new(store: B) -> Self {
        Self { store, released: Arc::default() }
    }

    fn released(&self) -> usize {
        self.released.load(Ordering::SeqCst)
    }
}

impl<B: Handle> Backend for Counted<B> {
    type Grant = B::Grant;
    type Handle = Self;

    fn handle(&self) -> Self {
        self.clone()
    }

    fn site(&self) -> &Site {
        self.store.site()
    }

    fn try_acquire(&self, claim: &Claim) -> Result<Attempt<B::Grant>> {
        self.store.try_acquire(claim)
    }

    fn renew(&self, due: Renewal<'_, B::Grant>) -> Result<()> {
        self.store.renew(due)
    }

    fn release(&self, end: Release<'_, B::Grant>) -> Result<()> {
        self.released.fetch_add(1, Ordering::SeqCst);
        self.store.release(end)
    }

    fn abandon(&self, claim: &Claim) {
        self.store.abandon(claim);
    }

    fn watch(&self, claim: &Claim) -> Result<Watch> {
        self.store.watch(claim)
    }
}
