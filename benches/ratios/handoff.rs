//! From one holder's release to the next holder's return.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::future::Future;
use std::path::Path;
use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use tenure::aio::{self, AsyncHandle};
use tenure::{Backend, Files, Handle, LocMem, Lock};

use crate::measure::{nanos, percentile, pin, report};

const ROUNDS: usize = 300;

/// What is compared with each other takes turns so often, and meets the same machine.
const SPELLS: usize = 6;

pub(crate) fn run() {
    for cpus in [[0, 0], [0, 1]] {
        println!("holder on cpu {}, waiter on cpu {}; medians, p99 in brackets", cpus[0], cpus[1]);
        let polled = polling(cpus);
        let memory = memory(cpus);
        show("locmem", "a thread park/unpark", &memory.threads, &park_unpark(cpus), &polled);
        memory.compare("locmem");
        let folder = tempfile::tempdir().unwrap();
        let blocked = flock(folder.path(), cpus);
        let files = files(folder.path(), cpus);
        show("files", "a blocking flock hand-off", &files.threads, &blocked, &polled);
        files.compare("files");
    }
}

fn show(what: &str, over: &str, times: &[Duration], raw: &[Duration], polled: &[Duration]) {
    report(format!("{what} hand-off"), over, (p50(times), p50(raw)), Some(4.0));
    let (p99, raw99) = (percentile(times.to_vec(), 99), percentile(raw.to_vec(), 99));
    println!(
        "            [p99 {p99:?} / {raw99:?}; polling every 100 ms takes {:?}]",
        percentile(polled.to_vec(), 50)
    );
}

fn p50(times: &[Duration]) -> f64 {
    nanos(percentile(times.to_vec(), 50))
}

/// The hand-offs of one store, measured in turn.
#[derive(Default)]
struct HandOffs {
    threads: Vec<Duration>,
    /// From a thread that awaits to another.
    awaited: Vec<Duration>,
    /// The same, with the waiter under tokio.
    tokio: Vec<Duration>,
    /// From task to task of one thread.
    tasks: Vec<Duration>,
}

impl HandOffs {
    fn measure<B: Handle + AsyncHandle>(
        one: &B,
        other: &B,
        parked: impl Fn() -> bool + Copy,
        cpus: [usize; 2],
    ) -> Self {
        let (ours, theirs) = (Lock::new(one, "x"), Lock::new(other, "x"));
        let (our_task, their_task) = (aio::Lock::new(one, "x"), aio::Lock::new(other, "x"));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut measured = Self::default();
        for _ in 0..SPELLS {
            measured.threads.extend(locks(&ours, &theirs, parked, cpus));
            let here = || aio::block_on(got(&their_task));
            measured.awaited.extend(polled_locks(&our_task, parked, cpus, here));
            let under_tokio = || runtime.block_on(got(&their_task));
            measured.tokio.extend(polled_locks(&our_task, parked, cpus, under_tokio));
            // One thread has but one cpu.
            if cpus[0] == cpus[1] {
                measured.tasks.extend(tasks(&our_task, &their_task, parked));
            }
        }
        measured
    }

    fn compare(&self, what: &str) {
        let threads = p50(&self.threads);
        let ratio = |times: &[Duration]| (p50(times), threads);
        let over = "from thread to thread in blocking code";
        report(format!("{what} hand-off, awaited"), over, ratio(&self.awaited), Some(1.3));
        report(format!("{what} hand-off to a task of tokio"), over, ratio(&self.tokio), Some(1.3));
        if !self.tasks.is_empty() {
            let what = format!("{what} hand-off from task to task of a thread");
            report(what, over, ratio(&self.tasks), Some(1.3));
        }
    }
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

fn memory(cpus: [usize; 2]) -> HandOffs {
    let store = LocMem::for_this_process_only();
    HandOffs::measure(&store, &store, || store.waiting("lock:x") == 1, cpus)
}

/// Two handles opened separately, as two processes have them.
fn files(folder: &Path, cpus: [usize; 2]) -> HandOffs {
    let (one, other) = (Files::open(folder).unwrap(), Files::open(folder).unwrap());
    HandOffs::measure(&one, &other, || Backend::site(&other).waiting("lock:x") == 1, cpus)
}

fn locks<B: Handle>(
    ours: &Lock<B>,
    theirs: &Lock<B>,
    parked: impl Fn() -> bool,
    cpus: [usize; 2],
) -> Vec<Duration> {
    let held = RefCell::new(None);
    rounds(
        ROUNDS / SPELLS,
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

fn polled_locks<B: AsyncHandle>(
    ours: &aio::Lock<B>,
    parked: impl Fn() -> bool,
    cpus: [usize; 2],
    wait: impl FnMut() -> Instant + Send,
) -> Vec<Duration> {
    let held = RefCell::new(None);
    rounds(
        ROUNDS / SPELLS,
        cpus,
        || *held.borrow_mut() = Some(aio::block_on(ours.acquire()).unwrap()),
        parked,
        || held.take().map_or((), |held| aio::block_on(held.release()).unwrap()),
        wait,
    )
}

/// Waits for the lock, and says when it was there.
async fn got<B: AsyncHandle>(lock: &aio::Lock<B>) -> Instant {
    let held = lock.acquire().await.unwrap();
    let got = Instant::now();
    held.release().await.unwrap();
    got
}

/// Both on the executor of one thread.
fn tasks<B: AsyncHandle>(
    ours: &aio::Lock<B>,
    theirs: &aio::Lock<B>,
    parked: impl Fn() -> bool,
) -> Vec<Duration> {
    pin(0);
    let executor = async_executor::LocalExecutor::new();
    let round = async || {
        let held = ours.acquire().await.unwrap();
        let waiter = executor.spawn(got(theirs));
        while !parked() {
            pause().await;
        }
        // The waiter may have looked for the last time only now.
        pause().await;
        let released = Instant::now();
        held.release().await.unwrap();
        waiter.await.saturating_duration_since(released)
    };
    let rounds = async {
        let mut measured = Vec::new();
        for _ in 0..ROUNDS / SPELLS {
            measured.push(round().await);
        }
        measured
    };
    aio::block_on(executor.run(rounds))
}

/// Lets other tasks of the thread run, and threads of the store.
fn pause() -> impl Future<Output = ()> {
    thread::sleep(Duration::from_millis(1));
    let mut first = true;
    std::future::poll_fn(move |cx| match std::mem::take(&mut first) {
        true => {
            cx.waker().wake_by_ref();
            std::task::Poll::Pending
        }
        false => std::task::Poll::Ready(()),
    })
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
    let mutex = Mutex::new(());
    let held = RefCell::new(None);
    let phase = Cell::new(0);
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
