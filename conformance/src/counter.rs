//! Counters that lose updates unless a lock protects them.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

/// Long enough for another to come between, and short beside what a lock costs.
const BETWEEN: Duration = Duration::from_micros(500);

/// A counter in memory, read and written in two steps.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn increment(&self) {
        let before = self.0.load(Ordering::Relaxed);
        thread::sleep(BETWEEN);
        self.0.store(before + 1, Ordering::Relaxed);
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Reads and writes a counter in a file, in two steps.
pub(crate) fn increment(file: &Path) -> io::Result<()> {
    let before = count(file)?;
    thread::sleep(BETWEEN);
    // Renamed into its place, so that nobody reads half of it.
    let next = file.with_extension(std::process::id().to_string());
    fs::write(&next, (before + 1).to_string())?;
    fs::rename(next, file)
}

pub(crate) fn count(file: &Path) -> io::Result<u64> {
    match fs::read_to_string(file) {
        Ok(text) => text.parse().map_err(|_| io::Error::other(format!("the counter is torn: {text:?}"))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error),
    }
}
