//! Locks in files do not keep the thread of a task waiting, and ten thousand tasks are one waiter.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "helpers of tests, outside of test functions")]

mod support;

use std::fs::{self, File};
use std::future::Future;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use nix::sys::signal::{Signal, raise};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use support::{Role, descriptions, record, role, say, sleeps, sleepy, store, threads, wait_until};
use tenure_core::aio::{self, AsyncBackend, Lock, block_on};
use tenure_core::{Backend, Owner, Result};

const SOON: Duration = Duration::from_secs(20);

/// What would have made the thread wait would have done so for three seconds.
const BLOCKED: Duration = Duration::from_millis(1500);

#[test]
fn the_child_plays_its_role() {
    match role() {
        Some((role, dir)) if role == "inside" => stop_inside(&dir),
        Some((_, dir)) => give_up(&dir),
        None => {}
    }
}

/// Stops inside the record of `a`, and goes out when it is continued.
fn stop_inside(dir: &Path) {
    let record = File::options().read(true).write(true).open(record(dir)).unwrap();
    let lock = |kind: libc::c_int| libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 1,
        l_pid: 0,
    };
    fcntl(&record, FcntlArg::F_OFD_SETLK(&lock(libc::F_WRLCK))).unwrap();
    say("inside");
    raise(Signal::SIGSTOP).unwrap();
    fcntl(&record, FcntlArg::F_OFD_SETLK(&lock(libc::F_UNLCK))).unwrap();
    say("out");
}

/// Drops an attempt on `a` while the only thread of the pool is at it, and tells when that is through.
fn give_up(dir: &Path) {
    let files = sleepy(dir);
    let claim = Lock::new(&files, "a").claim_as(Owner::random()).unwrap();
    let mut attempt = Box::pin(AsyncBackend::try_acquire(&files, &claim));
    assert!(poll(attempt.as_mut()).is_pending());
    let pool = || threads("blocking-");
    wait_until("a thread waits for the record", || pool().iter().any(|thread| sleeps(thread)));
    assert!(poll(attempt.as_mut()).is_pending());
    drop(attempt);
    say("dropped");
    // The pool does this after that.
    block_on(AsyncBackend::diagnose(&files));
    assert_eq!(pool().len(), 1);
    say("over");
}

/// A process that is stopped inside the record of `a`.
fn stopped_inside(dir: &Path) -> Role {
    let mut inside = Role::start("inside", dir);
    assert_eq!(inside.says(), "inside");
    let pid = Pid::from_raw(inside.child.id().cast_signed());
    let status = waitpid(pid, Some(WaitPidFlag::WUNTRACED)).unwrap();
    assert!(matches!(status, WaitStatus::Stopped(..)), "{status:?}");
    inside
}

/// The number of the last grant, as the record of `a` has it.
fn last_grant(dir: &Path) -> u64 {
    let bytes = fs::read(record(dir)).unwrap();
    u64::from_le_bytes(bytes[8..16].try_into().unwrap())
}

/// A task that runs every few milliseconds, and sees for how long it could not.
fn tick() -> Arc<AtomicU64> {
    let longest = Arc::new(AtomicU64::new(0));
    let seen = longest.clone();
    tokio::spawn(async move {
        loop {
            let began = Instant::now();
            tokio::time::sleep(Duration::from_millis(5)).await;
            seen.fetch_max(began.elapsed().as_millis().try_into().unwrap(), SeqCst);
        }
    });
    longest
}

/// Gives work some time, which it does not get done in.
async fn waits<T: std::fmt::Debug>(what: &str, work: impl Future<Output = T>) {
    let done = tokio::time::timeout(Duration::from_millis(100), work).await;
    assert!(done.is_err(), "{what} got into a record that another process is inside of: {done:?}");
}

#[test]
fn a_process_that_is_stopped_inside_a_record_keeps_no_other_task_waiting() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let (_dir, path) = store();
    let (files, other) = (sleepy(&path), sleepy(&path));
    runtime.block_on(async {
        let lock = Lock::new(&files, "a");
        let held = lock.ttl(Duration::from_secs(60)).acquire().await?;
        let inside = stopped_inside(&path);
        let longest = tick();
        waits("a renewal", held.renew()).await;
        waits("a change of the lifetime", held.renew_for(Duration::from_secs(50))).await;
        waits("an attempt", Lock::new(&files, "a").try_acquire()).await;
        waits("an attempt of another", Lock::new(&other, "a").try_acquire()).await;
        waits("a wait", Lock::new(&other, "a").acquire()).await;
        waits("a release", held.release()).await;
        inside.signal(Signal::SIGCONT);
        let continued = Instant::now();
        Lock::new(&other, "a").acquire_for(SOON).await?.release().await?;
        assert!(continued.elapsed() < Duration::from_secs(1), "{:?}", continued.elapsed());
        let longest = Duration::from_millis(longest.load(SeqCst));
        assert!(longest < BLOCKED, "another task could not run for {longest:?}");
        Ok(())
    })
}

#[test]
fn a_lock_that_is_dropped_over_a_record_in_use_is_free_soon_after() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let (_dir, path) = store();
    let (files, other) = (sleepy(&path), sleepy(&path));
    runtime.block_on(async {
        // Longer than the release waits in one go.
        for stop in [Duration::ZERO, Duration::from_millis(3_200)] {
            let held = Lock::new(&files, "a").acquire().await?;
            let inside = stopped_inside(&path);
            let longest = tick();
            let began = Instant::now();
            drop(held);
            assert!(began.elapsed() < Duration::from_millis(500), "the drop took {:?}", began.elapsed());
            tokio::time::sleep(stop).await;
            inside.signal(Signal::SIGCONT);
            let continued = Instant::now();
            Lock::new(&other, "a").acquire_for(SOON).await?.release().await?;
            assert!(continued.elapsed() < Duration::from_secs(1), "free after {:?}", continued.elapsed());
            let longest = Duration::from_millis(longest.load(SeqCst));
            assert!(longest < BLOCKED, "another task could not run for {longest:?}");
        }
        Ok(())
    })
}

#[test]
fn work_that_nobody_waits_for_any_more_changes_nothing() -> Result<()> {
    let (_dir, path) = store();
    let files = sleepy(&path);
    block_on(async { Lock::new(&files, "a").acquire().await?.release().await })?;
    let before = last_grant(&path);
    let inside = stopped_inside(&path);
    let mut other = Role::start_with("give up", &path, Some(("BLOCKING_MAX_THREADS", "1")));
    assert_eq!(other.says(), "dropped");
    inside.signal(Signal::SIGCONT);
    assert!(inside.end());
    assert_eq!(other.says(), "over");
    assert_eq!(last_grant(&path), before, "an attempt that was dropped was carried out");
    block_on(async { Lock::new(&files, "a").acquire().await?.release().await })?;
    assert!(last_grant(&path) > before);
    assert!(other.end());
    Ok(())
}

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// How often this process listens to changes of a file.
fn watches(file: &Path) -> usize {
    let inode = format!(" ino:{:x} ", fs::metadata(file).unwrap().ino());
    let descriptors = fs::read_dir("/proc/self/fdinfo").unwrap().flatten();
    let infos = descriptors.filter_map(|info| fs::read_to_string(info.path()).ok());
    infos
        .flat_map(|info| info.lines().map(str::to_owned).collect::<Vec<_>>())
        .filter(|line| line.contains(&inode))
        .count()
}

#[test]
fn ten_thousand_tasks_are_one_waiter() -> Result<()> {
    let (_dir, path) = store();
    let (files, holder) = (sleepy(&path), sleepy(&path));
    let held = tenure_core::Lock::new(&holder, "a").acquire()?;
    let lock = Lock::new(&files, "a");
    let record = record(&path);
    let mut tasks: Vec<_> = (0..10_000).map(|_| Box::pin(lock.acquire())).collect();
    // A quarter of that unless what happens is told to `tracing`.
    let size = size_of_val(&*tasks[0]);
    assert!(size <= 5 * 1024, "a waiting task needs {size} bytes");
    // The holder's description, this store's, and the ticket that shows that it waits.
    let until = Instant::now() + SOON;
    while descriptions(&record) < 3 {
        assert!(Instant::now() < until, "the first one does not wait visibly");
        assert!(poll(tasks[0].as_mut()).is_pending());
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(poll(tasks[0].as_mut()).is_pending());
    for task in &mut tasks {
        assert!(poll(task.as_mut()).is_pending());
    }
    assert_eq!(Backend::site(&files).waiting("lock:a"), 10_000);
    assert_eq!((descriptions(&record), watches(&record)), (3, 1));
    held.release()?;
    let mut tasks = tasks.into_iter();
    for task in tasks.by_ref().take(100) {
        aio::block_on(async { task.await?.release().await })?;
    }
    assert_eq!((descriptions(&record), watches(&record)), (2, 1), "the others wait still");
    drop(tasks);
    wait_until("nobody waits", || descriptions(&record) == 1 && watches(&record) == 0);
    assert_eq!(Backend::site(&files).waiting("lock:a"), 0);
    block_on(async { lock.try_acquire().await?.release().await })
}
