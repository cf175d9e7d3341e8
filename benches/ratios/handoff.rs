//! From one holder's release to the next holder's return.

use std::fs::File;
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use tenure::{Backend, Files, Handle, LocMem, Lock};

use crate::measure::{nanos, percentile, pin, report};

const ROUNDS: usize = 300;

pub(crate) fn run() {
    for cpus in [[0, 0], [0, 1]] {
        println!("holder on cpu {}, waiter on cpu {}; medians, p99 in brackets", cpus[0], cpus[1]);
        let polled = polling(cpus);
        let (parked, memory) = (park_unpark(cpus), locmem(cpus));
        show("locmem", "a thread park/unpark", &memory, &parked, &polled);
        let folder = tempfile::tempdir().unwrap();
        let (blocked, files) = (flock(folder.path(), cpus), files(folder.path(), cpus));
        show("files", "a blocking flock hand-off", &files, &blocked, &polled);
    }
}

fn show(what: &str, over: &str, times: &[Duration], raw: &[Duration], polled: &[Duration]) {
    let p50 = |times: &[Duration]| percentile(times.to_vec(), 50);
    let ratio = (nanos(p50(times)), nanos(p50(raw)));
    report(format!("{what} hand-off"), over, ratio, Some(4.0));
    let (p99, raw99) = (percentile(times.to_vec(), 99), percentile(raw.to_vec(), 99));
    println!("            [p99 {p99:?} / {raw99:?}; polling every 100 ms takes {:?}]", p50(polled));
}

/// Lets a thread `wait`, and measures from the beginning of `end` to when it says that it got
/// through. `begin` takes the lock before; `parked` tells whether the thread waits.
fn rounds(
    rounds: usize,
    cpus: [usize; 2],
    mut begin: impl FnMut(),
    parked: impl Fn() -> bool,
    mut end: impl FnMut(),
    wait: impl FnMut() -> Instant + Send,
) -> Vec<Duration> {
    let mut wait = wait;
    thread::scope(|scope| {
        let (start, started) = mpsc::channel::<()>();
        let (tell, told) = mpsc::channel::<Instant>();
        scope.spawn(move || {
            pin(cpus[1]);
            while started.recv().is_ok() {
                tell.send(wait()).unwrap();
            }
        });
        pin(cpus[0]);
        let measured = (0..rounds).map(|_| {
            begin();
            start.send(()).unwrap();
            while !parked() {
                thread::sleep(Duration::from_micros(50));
            }
            // Time for the waiter to fall asleep after it was seen in line.
            thread::sleep(Duration::from_millis(1));
            let released = Instant::now();
            end();
            told.recv().unwrap().saturating_duration_since(released)
        });
        let measured = measured.collect();
        drop(start);
        measured
    })
}

fn park_unpark(cpus: [usize; 2]) -> Vec<Duration> {
    thread::scope(|scope| {
        let (tell, told) = mpsc::channel::<Instant>();
        let waiter = scope.spawn(move || {
            pin(cpus[1]);
            for _ in 0..ROUNDS {
                thread::park();
                tell.send(Instant::now()).unwrap();
            }
        });
        pin(cpus[0]);
        let measured = (0..ROUNDS).map(|_| {
            thread::sleep(Duration::from_millis(1));
            let began = Instant::now();
            waiter.thread().unpark();
            told.recv().unwrap().saturating_duration_since(began)
        });
        measured.collect()
    })
}

fn locmem(cpus: [usize; 2]) -> Vec<Duration> {
    let store = LocMem::for_this_process_only();
    let parked = || store.waiting("lock:x") == 1;
    locks(&Lock::new(&store, "x"), &Lock::new(&store, "x"), parked, cpus)
}

/// Two handles opened separately, as two processes have them.
fn files(folder: &Path, cpus: [usize; 2]) -> Vec<Duration> {
    let (one, other) = (Files::open(folder).unwrap(), Files::open(folder).unwrap());
    let parked = || other.site().waiting("lock:x") == 1;
    locks(&Lock::new(&one, "x"), &Lock::new(&other, "x"), parked, cpus)
}

fn locks<B: Handle>(
    ours: &Lock<B>,
    theirs: &Lock<B>,
    parked: impl Fn() -> bool,
    cpus: [usize; 2],
) -> Vec<Duration> {
    let held = std::cell::RefCell::new(None);
    rounds(
        ROUNDS,
        cpus,
        || *held.borrow_mut() = Some(ours.acquire().unwrap()),
        parked,
        || held.take().map_or((), |held| held.release().unwrap()),
        || {
            let held = theirs.acquire().unwrap();
            let got = Instant::now();
            held.release().unwrap();
            got
        },
    )
}

fn flock(folder: &Path, cpus: [usize; 2]) -> Vec<Duration> {
    let path = folder.join("flock");
    let (ours, theirs) = (File::create(&path).unwrap(), File::create(&path).unwrap());
    rounds(
        ROUNDS,
        cpus,
        || ours.lock().unwrap(),
        || true,
        || ours.unlock().unwrap(),
        || {
            theirs.lock().unwrap();
            let got = Instant::now();
            theirs.unlock().unwrap();
            got
        },
    )
}

fn polling(cpus: [usize; 2]) -> Vec<Duration> {
    let mutex = std::sync::Mutex::new(());
    let held = std::cell::RefCell::new(None);
    let phase = std::cell::Cell::new(0);
    rounds(
        15,
        cpus,
        || *held.borrow_mut() = Some(mutex.lock().unwrap()),
        || {
            // Releases fall anywhere between two looks.
            phase.set((phase.get() + 37) % 100);
            thread::sleep(Duration::from_millis(phase.get()));
            true
        },
        || drop(held.take()),
        || {
            while mutex.try_lock().is_err() {
                thread::sleep(Duration::from_millis(100));
            }
            Instant::now()
        },
    )
}
