//! Measures what an acquire and release cost, beside a bare OFD lock and unlock.

#![expect(clippy::print_stdout, reason = "it reports to whoever runs it")]

use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use tenure_core::{Lock, Result};
use tenure_fs::Files;

fn main() -> Result<()> {
    let dir = tempfile::tempdir().expect("a folder for the measurement");
    let file = tempfile::tempfile_in(dir.path()).expect("a file for the measurement");
    let lock = |kind: i32| libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 1,
        l_pid: 0,
    };
    let bare = median(|| {
        let _ = fcntl(&file, FcntlArg::F_OFD_SETLK(&lock(libc::F_WRLCK)));
        let _ = fcntl(&file, FcntlArg::F_OFD_SETLK(&lock(libc::F_UNLCK)));
        Ok(())
    })?;
    let files = Files::open(dir.path().join("locks"))?;
    let handle = Lock::new(&files, "a");
    let pair = median(|| handle.try_acquire()?.release())?;
    let timed = handle.clone().ttl(Duration::from_secs(5));
    let fixed = median(|| timed.try_acquire()?.release())?;
    let session = handle.clone().session();
    let session = median(|| session.try_acquire()?.release())?;
    let fresh = median(|| Lock::new(&files, "b").try_acquire()?.release())?;
    println!("bare OFD pair        {bare:>6} ns");
    println!("kept alive, handle   {pair:>6} ns  {:.1} x", pair as f64 / bare as f64);
    println!("fixed ttl, handle    {fixed:>6} ns  {:.1} x", fixed as f64 / bare as f64);
    println!("session, handle      {session:>6} ns  {:.1} x", session as f64 / bare as f64);
    println!("by name, no handle   {fresh:>6} ns  {:.1} x", fresh as f64 / bare as f64);
    Ok(())
}

/// The median of many batches, in nanoseconds for one call.
fn median(mut call: impl FnMut() -> Result<()>) -> Result<u128> {
    let mut batches = Vec::new();
    for _ in 0..101 {
        let start = Instant::now();
        for _ in 0..200 {
            call()?;
        }
        batches.push(start.elapsed().as_nanos() / 200);
    }
    batches.sort_unstable();
    Ok(batches[50])
}
