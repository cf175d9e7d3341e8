//! What is true of locks in files when their holders are killed, stopped, or forgotten.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "helpers of tests, outside of test functions")]

mod support;

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::{Role, descriptions, record, role, say, sleepy, store, wait_for_parent, wait_for_waiter};
use tenure_core::{Cause, Fence, Lock, Owner, Result};
use tenure_fs::Files;

#[test]
fn the_child_plays_its_role() {
    if let Some((role, dir)) = role() {
        play(&role, &dir).unwrap();
    }
}

#[expect(clippy::zombie_processes, reason = "the heir of a session outlives the child; the test ends it")]
fn play(role: &str, dir: &Path) -> Result<()> {
    let files = Files::open(dir)?;
    let lock = Lock::new(&files, "a");
    match role {
        "hold" => {
            let held = lock.try_acquire()?;
            say(held.fence());
            wait_for_parent();
        }
        "hold briefly" => {
            let held = lock.ttl(Duration::from_millis(300)).try_acquire()?;
            say(held.fence());
            wait_for_parent();
            say(held.release().unwrap_err().cause().is_some());
        }
        "detach" => {
            let held = lock.ttl(Duration::from_secs(2)).release_on_drop(false).try_acquire()?;
            say(held.owner());
        }
        "keep" => {
            lock.hold_at_least(Duration::from_secs(2)).try_acquire()?.release()?;
            say("released");
        }
        "session" => {
            let held = lock.session().try_acquire()?;
            let copy = held.grant().descriptor().unwrap().try_clone_to_owned().unwrap();
            // As standard input the copy is inherited by a child that outlives this process.
            let heir = Command::new("sleep").arg("60").stdin(File::from(copy)).spawn().unwrap();
            say(heir.id());
            wait_for_parent();
            say(held.release().is_ok());
            wait_for_parent();
        }
        "hammer" => hammer(&sleepy(dir), dir, 500)?,
        "hammer briefly" => hammer(&sleepy(dir), dir, 200)?,
        "collect" => {
            let mut removed = 0;
            while !dir.join("stop").exists() {
                removed += files.collect(Duration::ZERO)?.removed();
            }
            say(removed);
        }
        _ => unreachable!("no such role"),
    }
    Ok(())
}

/// Counts up a file under the lock; an overlap loses a count or meets the other's mark.
fn hammer(files: &Files, dir: &Path, times: u32) -> Result<()> {
    let (count, mark) = (dir.join("count"), dir.join("mark"));
    for round in 0..times {
        // A fresh handle each time, that opens the file again.
        let held = Lock::new(files, "a").acquire_for(Duration::from_secs(30))?;
        File::create_new(&mark).expect("nobody else is inside");
        let text = fs::read_to_string(&count).unwrap_or_default();
        let mut numbers = text.split(' ').map(|number| number.parse::<u64>().unwrap_or(0));
        let (before, fence) = (numbers.next().unwrap_or(0), Fence::new(numbers.next().unwrap_or(0)));
        assert!(held.fence() > fence, "fences grow: {} after {fence}", held.fence());
        fs::write(&count, format!("{} {}", before + 1, held.fence())).unwrap();
        fs::remove_file(&mark).unwrap();
        assert!(held.is_held());
        held.release()?;
        if round % 3 == 0 {
            std::thread::yield_now();
        }
    }
    Ok(())
}

#[test]
fn a_killed_holder_frees_the_lock_at_once() -> Result<()> {
    let (_dir, path) = store();
    let files = sleepy(&path);
    for _ in 0..5 {
        let mut holder = Role::start("hold", &path);
        let fence: Fence = holder.says().parse().unwrap();
        let lock = Lock::new(&files, "a");
        assert_eq!(lock.try_acquire().unwrap_err().holder(), Some(fence));
        let (record, before) = (record(&path), descriptions(&record(&path)));
        let waiter = std::thread::spawn(move || {
            let held = lock.acquire_for(Duration::from_secs(20))?;
            Ok::<_, tenure_core::Error>((Instant::now(), held.fence()))
        });
        wait_for_waiter(&files, &record, before);
        let killed = Instant::now();
        holder.signal(Signal::SIGKILL);
        let (got, next) = waiter.join().unwrap()?;
        assert!(next > fence && got.duration_since(killed) < Duration::from_secs(2));
    }
    Ok(())
}

#[test]
fn a_stopped_holder_loses_the_lock_with_its_lease_and_its_end_harms_nobody() -> Result<()> {
    let (_dir, path) = store();
    let files = Files::open(&path)?;
    let mut holder = Role::start("hold briefly", &path);
    let fence: Fence = holder.says().parse().unwrap();
    holder.signal(Signal::SIGSTOP);
    let held = Lock::new(&files, "a").acquire_for(Duration::from_secs(10))?;
    assert!(held.fence() > fence);
    holder.signal(Signal::SIGCONT);
    holder.child.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
    assert_eq!(holder.says(), "true");
    assert!(holder.end());
    let other = Files::open(&path)?;
    assert!(Lock::new(&other, "a").try_acquire().unwrap_err().is_contended());
    held.renew()?;
    held.release()
}

#[test]
fn a_session_lasts_as_long_as_its_heirs_or_until_it_is_released() -> Result<()> {
    let (_dir, path) = store();
    let files = sleepy(&path);
    let lock = Lock::new(&files, "a");
    for release in [false, true] {
        let mut holder = Role::start("session", &path);
        let heir = Pid::from_raw(holder.says().parse().unwrap());
        let taken = || lock.try_acquire().is_err_and(|error| error.is_contended());
        assert!(taken());
        if release {
            holder.child.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
            assert_eq!(holder.says(), "true");
            assert!(!taken());
        } else {
            holder.signal(Signal::SIGKILL);
            holder.child.wait().unwrap();
            assert!(taken(), "the heir still has it");
        }
        kill(heir, Signal::SIGKILL).unwrap();
        lock.acquire_for(Duration::from_secs(20))?.release()?;
    }
    Ok(())
}

#[test]
fn a_detached_lock_survives_its_process_until_its_lease_ends() -> Result<()> {
    let (_dir, path) = store();
    let files = Files::open(&path)?;
    let start = Instant::now();
    let mut holder = Role::start("detach", &path);
    let owner: Owner = holder.says().parse()?;
    assert!(holder.end());
    let lock = Lock::new(&files, "a");
    assert!(lock.try_acquire().unwrap_err().is_contended());
    lock.acquire_for(Duration::from_secs(10))?.release()?;
    assert!(start.elapsed() >= Duration::from_secs(2));
    assert_eq!(lock.restore(owner).unwrap_err().cause(), Some(Cause::Superseded));
    Ok(())
}

#[test]
fn a_lock_that_is_held_at_least_so_long_stays_taken_after_release_and_exit() -> Result<()> {
    let (_dir, path) = store();
    let files = Files::open(&path)?;
    let start = Instant::now();
    let mut holder = Role::start("keep", &path);
    assert_eq!(holder.says(), "released");
    assert!(holder.end());
    let lock = Lock::new(&files, "a");
    assert!(lock.try_acquire().unwrap_err().is_contended());
    lock.acquire_for(Duration::from_secs(10))?.release()?;
    assert!(start.elapsed() >= Duration::from_secs(2));
    Ok(())
}

#[test]
fn four_processes_never_overlap() {
    let (_dir, path) = store();
    let roles: Vec<_> = (0..4).map(|_| Role::start("hammer", &path)).collect();
    assert!(roles.into_iter().all(Role::end));
    let count = fs::read_to_string(path.join("count")).unwrap();
    assert!(count.starts_with("2000 "), "{count}");
}

#[test]
fn collecting_all_the_time_makes_no_two_holders() {
    let (_dir, path) = store();
    // A wake-up that is lost with a removed file fails it too.
    let files = sleepy(&path);
    let mut collector = Role::start("collect", &path);
    let roles: Vec<_> = (0..2).map(|_| Role::start("hammer briefly", &path)).collect();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| hammer(&files, &path, 200).unwrap());
        }
    });
    assert!(roles.into_iter().all(Role::end));
    fs::write(path.join("stop"), "").unwrap();
    let removed: u64 = collector.says().parse().unwrap();
    assert!(collector.end());
    let count = fs::read_to_string(path.join("count")).unwrap();
    assert!(count.starts_with("800 "), "{count}");
    assert!(removed > 0, "nothing was collected meanwhile");
}
