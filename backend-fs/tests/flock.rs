//! Locks of this crate and of the real `flock` command exclude each other.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "helpers of tests, outside of test functions")]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tenure_core::{Lock, Result};
use tenure_fs::Flock;

/// `flock` holding a file until its input ends.
struct Holding(Child);

impl Holding {
    fn start(path: &Path) -> Self {
        let mut child = Command::new("flock")
            .arg(path)
            .args(["sh", "-c", "echo held; read -r line"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("util-linux is installed");
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "held\n");
        Self(child)
    }

    fn end(mut self) {
        self.0.stdin.take().unwrap().write_all(b"\n").unwrap();
        self.0.wait().unwrap();
    }
}

fn command_gets(path: &Path) -> bool {
    Command::new("flock").arg("--nonblock").arg(path).arg("true").status().unwrap().success()
}

#[test]
fn the_command_and_the_lock_exclude_each_other() -> Result<()> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("Backup.lock");
    let flock = Flock::open(dir.path())?;
    let lock = Lock::new(&flock, "Backup.lock");
    let mut last = tenure_core::Fence::ZERO;
    for _ in 0..2 {
        assert!(command_gets(&path));
        let held = lock.try_acquire()?;
        assert!(held.fence() > last && held.deadline().is_none());
        last = held.fence();
        assert!(!command_gets(&path) && lock.try_acquire().unwrap_err().is_contended());
        held.renew()?;
        held.release()?;
        assert!(command_gets(&path));

        let holding = Holding::start(&path);
        assert!(lock.try_acquire().unwrap_err().is_contended());
        let start = Instant::now();
        let waiter = {
            let lock = lock.clone();
            std::thread::spawn(move || lock.acquire_for(Duration::from_secs(10)).map(drop))
        };
        holding.end();
        waiter.join().unwrap()?;
        assert!(start.elapsed() < Duration::from_secs(5));
    }
    Ok(())
}

#[test]
fn the_file_is_never_written_and_a_link_never_followed() -> Result<()> {
    let dir = tempfile::tempdir().unwrap();
    let (path, link) = (dir.path().join("data"), dir.path().join("link"));
    std::fs::write(&path, "precious").unwrap();
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let flock = Flock::open(dir.path())?;
    Lock::new(&flock, "data").try_acquire()?.release()?;
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    assert!(Lock::new(&flock, "link").try_acquire().unwrap_err().is_misconfigured());
    for name in ["../data", ".", "..", "a/b"] {
        assert!(Lock::new(&flock, name).try_acquire().unwrap_err().is_invalid_name(), "{name}");
    }
    Ok(())
}

#[test]
fn a_lock_on_a_removed_file_is_lost() -> Result<()> {
    let dir = tempfile::tempdir().unwrap();
    let flock = Flock::open(dir.path())?;
    let lock = Lock::new(&flock, "a");
    let held = lock.try_acquire()?;
    std::fs::remove_file(dir.path().join("a")).unwrap();
    let next = lock.try_acquire()?;
    assert!(next.fence() > held.fence());
    assert!(held.renew().unwrap_err().is_lost());
    next.renew()
}

#[test]
fn what_a_flock_cannot_do_is_refused() -> Result<()> {
    let dir = tempfile::tempdir().unwrap();
    let flock = Flock::open(dir.path())?;
    let lock = Lock::new(&flock, "a");
    assert!(lock.clone().ttl(Duration::from_secs(1)).try_acquire().unwrap_err().is_misconfigured());
    assert!(lock.clone().release_on_drop(false).try_acquire().unwrap_err().is_misconfigured());
    assert!(Flock::open(dir.path().join("absent")).unwrap_err().is_unavailable());
    lock.session().try_acquire()?.release()
}
