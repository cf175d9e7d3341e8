//! What a forked child may do to its parent's locks: nothing. Run without the test harness, for only
//! a process with one thread may fork and go on.

#![cfg(target_os = "linux")]
#![allow(clippy::print_stderr, reason = "the child tells why it failed")]

use std::process::exit;
use std::time::Duration;

use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork};
use tenure_core::{Lock, Result};
use tenure_fs::Files;

const LIMIT: Duration = Duration::from_secs(60);

fn main() -> Result<()> {
    let dir = tempfile::tempdir().expect("a folder for the test");
    let path = dir.path().join("locks");
    let files = Files::open(&path)?;
    // Neither is kept alive by a thread, which a child would not have.
    let lock = Lock::new(&files, "a").ttl(LIMIT);
    let held = lock.try_acquire()?;
    let released = Lock::new(&files, "b").ttl(LIMIT).release_on_drop(false).try_acquire()?;

    // A file that the parent has open, for a lock that only the child takes.
    let free = Lock::new(&files, "d").ttl(LIMIT);
    free.try_acquire()?.release()?;

    #[expect(unsafe_code, reason = "forking is what is tested; the process has one thread")]
    // SAFETY: no other thread exists that could hold a lock of the allocator or of anything else.
    let forked = unsafe { fork() }.expect("there is room for one more process");
    match forked {
        ForkResult::Child => {
            let outcome = child(&files, &lock);
            drop((held, released));
            std::mem::forget(free.try_acquire());
            exit(i32::from(outcome.inspect_err(|error| eprintln!("{error}")).is_err()));
        }
        ForkResult::Parent { child } => {
            let ended = waitpid(child, None).expect("it is a child of this process");
            assert!(matches!(ended, WaitStatus::Exited(_, 0)), "{ended:?}");
        }
    }
    let other = Files::open(&path)?;
    for name in ["a", "b"] {
        let contended = Lock::new(&other, name).try_acquire().is_err_and(|error| error.is_contended());
        assert!(contended, "{name} is still taken after the child dropped its copy");
    }
    // Had the child locked the parent's description, its death would have gone unseen.
    Lock::new(&other, "d").try_acquire()?.release()?;
    held.renew()?;
    released.release()?;
    held.release()?;
    Lock::new(&other, "a").try_acquire()?.release()
}

fn child(files: &Files, lock: &Lock<Files>) -> Result<()> {
    // It shares the parent's descriptors and must not take their locks for its own.
    for lock in [lock, &Lock::new(files, "a")] {
        assert!(lock.try_acquire().is_err_and(|error| error.is_contended()));
    }
    let own = Lock::new(files, "c").ttl(LIMIT).try_acquire()?;
    own.renew()?;
    own.release()
}
