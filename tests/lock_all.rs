//! Several locks at once, on real stores, by threads, tasks and processes.

#![cfg(all(feature = "fs", feature = "locmem"))]
#![allow(clippy::unwrap_used, reason = "what tests share is a test too")]

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use tenure::{
    Advice, AnyBackend, Attempt, Backend, Claim, Files, Handle, Held, LocMem, Lock, LockAll, Owner, Release,
    Renewal, Result, Settings, Site, Watch, aio,
};

const LONG: Duration = Duration::from_secs(120);

#[test]
fn eight_threads_that_take_random_overlapping_sets_never_wait_in_a_circle() {
    let folder = tempfile::tempdir().unwrap();
    let waits = Arc::new(Waits::default());
    let files = Watched { store: Files::open(folder.path()).unwrap(), waits: waits.clone() };
    let memory = Watched { store: LocMem::for_this_process_only(), waits: waits.clone() };
    let [any_files, any_memory] = [AnyBackend::new(files), AnyBackend::new(memory)];
    // The same eight locks for all; a mutex beside each finds two holders out.
    let locks: Vec<_> = ["a", "b", "c", "d"]
        .into_iter()
        .flat_map(|name| [Lock::new(&any_files, name), Lock::new(&any_memory, name)])
        .map(|lock| (lock, Mutex::new(())))
        .collect();
    thread::scope(|scope| {
        for thread in 0..8 {
            let (locks, waits) = (&locks, &waits);
            scope.spawn(move || {
                let mut dice = Dice(thread + 1);
                for _ in 0..150 {
                    let picks = dice.pick(locks.len());
                    let set =
                        LockAll::of(picks.iter().map(|pick| locks[*pick].0.clone()).collect::<Vec<_>>());
                    waits.begin();
                    let held = set.acquire_for(LONG).unwrap();
                    waits.end();
                    let alone: Vec<_> =
                        picks.iter().map(|pick| locks[*pick].1.try_lock().expect("two holders")).collect();
                    thread::yield_now();
                    drop(alone);
                    held.release().unwrap();
                }
            });
        }
    });
    assert!(waits.seen.load(Ordering::SeqCst) > 0, "nobody waited, so nothing was tested");
    assert_eq!(*waits.wrong.lock().unwrap(), [""; 0]);
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

/// What each thread waited for while it took a set, and what was wrong with that.
#[derive(Default)]
struct Waits {
    threads: Mutex<HashMap<ThreadId, Taking>>,
    seen: AtomicUsize,
    wrong: Mutex<Vec<String>>,
}

/// A set that a thread takes.
struct Taking {
    began: Instant,
    /// The label, the key and the owner of what it waited for last with others in hand, or in order to.
    last: Option<(String, String, Owner)>,
}

impl Waits {
    /// For this long a member is waited for before what is held is let go of, at least.
    const PATIENCE: Duration = Duration::from_millis(250);

    fn begin(&self) {
        self.threads().insert(thread::current().id(), Taking { began: Instant::now(), last: None });
    }

    fn end(&self) {
        self.threads().remove(&thread::current().id());
    }

    /// Where all who wait do so in one order, there is no circle.
    fn waits(&self, site: &Site, claim: &Claim) {
        let mut threads = self.threads();
        let Some(taking) = threads.get_mut(&thread::current().id()).filter(|_| claim.waits()) else { return };
        let next = (site.label().to_owned(), claim.key().to_owned(), claim.owner());
        match &taking.last {
            // It asks once more.
            Some((_, _, owner)) if *owner == next.2 => return,
            Some((label, key, _)) if (label, key) >= (&next.0, &next.1) => {
                self.wrong(format!("a wait for {} {} after one for {label} {key}", next.0, next.1));
            }
            _ => {}
        }
        self.seen.fetch_add(1, Ordering::SeqCst);
        taking.last = Some(next);
    }

    /// With a release all begins anew. Within an acquire, it is of a set that is given up for now.
    fn releases(&self, claim: &Claim) {
        let mut threads = self.threads();
        let Some(taking) = threads.get_mut(&thread::current().id()) else { return };
        let waited = taking.began.elapsed();
        if waited < Self::PATIENCE {
            self.wrong(format!("{} was let go of in vain after {waited:?}", claim.key()));
        }
        taking.last = None;
    }

    fn wrong(&self, what: String) {
        self.wrong.lock().unwrap().push(what);
    }

    fn threads(&self) -> MutexGuard<'_, HashMap<ThreadId, Taking>> {
        self.threads.lock().unwrap()
    }
}

/// A store that sees who waits and who releases.
#[derive(Clone)]
struct Watched<B> {
    store: B,
    waits: Arc<Waits>,
}

impl<B: Handle> Backend for Watched<B> {
    type Grant = B::Grant;
    type Handle = Self;

    fn handle(&self) -> Self {
        self.clone()
    }

    fn site(&self) -> &Site {
        self.store.site()
    }

    fn try_acquire(&self, claim: &Claim) -> Result<Attempt<B::Grant>> {
        self.waits.waits(self.site(), claim);
        self.store.try_acquire(claim)
    }

    fn renew(&self, due: Renewal<'_, B::Grant>) -> Result<()> {
        self.store.renew(due)
    }

    fn renew_many(&self, due: &[Renewal<'_, B::Grant>]) -> Vec<Result<()>> {
        self.store.renew_many(due)
    }

    fn release(&self, end: Release<'_, B::Grant>) -> Result<()> {
        self.waits.releases(end.claim());
        self.store.release(end)
    }

    fn abandon(&self, claim: &Claim) {
        self.store.abandon(claim);
    }

    fn watch(&self, claim: &Claim) -> Result<Watch> {
        self.waits.waits(self.site(), claim);
        self.store.watch(claim)
    }

    fn is_awaited(&self, claim: &Claim) -> bool {
        self.store.is_awaited(claim)
    }

    fn diagnose(&self) -> Vec<Advice> {
        self.store.diagnose()
    }
}
