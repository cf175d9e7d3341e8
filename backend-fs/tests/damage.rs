//! What a damaged record does to those who hold its lock and those who want it, within one process.
//! Two stores on one folder stand for two processes: their byte locks exclude each other as well.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "helpers of tests, outside of test functions")]

mod support;

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use support::{descriptions, wait_for_waiter};
use tenure_core::{Breaking, Inspect, Lock, Name, Result, Settings};
use tenure_fs::Files;

struct Folder {
    dir: tempfile::TempDir,
    settings: Settings,
}

impl Folder {
    /// With this longest lease, and nobody who looks without being woken.
    fn new(max_ttl: Duration) -> Self {
        let minute = Duration::from_secs(60);
        let settings = Settings::default()
            .with_lease(max_ttl)
            .and_then(|settings| settings.with_max_ttl(max_ttl))
            .and_then(|settings| settings.with_sleep(minute))
            .and_then(|settings| settings.with_recheck(minute));
        Self { dir: tempfile::tempdir().unwrap(), settings: settings.unwrap() }
    }

    fn open(&self) -> Files {
        Files::builder(self.dir.path().join("locks")).settings(self.settings.clone()).open().unwrap()
    }

    fn record(&self) -> PathBuf {
        support::record(&self.dir.path().join("locks"))
    }

    fn read(&self) -> Vec<u8> {
        fs::read(self.record()).unwrap()
    }

    /// Writes over the record, in the same file.
    fn put(&self, bytes: &[u8]) {
        let file = File::options().write(true).open(self.record()).unwrap();
        file.set_len(bytes.len() as u64).unwrap();
        file.write_all_at(bytes, 0).unwrap();
    }

    fn flip(&self, at: usize) {
        let mut bytes = self.read();
        bytes[at] ^= 1;
        self.put(&bytes);
    }
}

/// A byte of the owner's token.
const HEADER: usize = 30;
const LABEL: usize = 128;
const KEY: usize = 640;

const SHORT: Duration = Duration::from_millis(100);
const LONG: Duration = Duration::from_secs(60);
const LIMIT: Duration = Duration::from_secs(20);

#[test]
fn a_late_release_after_a_quarantine_never_ends_the_next_grant() -> Result<()> {
    let folder = Folder::new(SHORT);
    let (one, other) = (folder.open(), folder.open());
    let held = Lock::new(&one, "a").ttl(SHORT).try_acquire()?;
    folder.flip(HEADER);
    assert!(Lock::new(&one, "a").try_acquire().unwrap_err().is_quarantined());
    let next = Lock::new(&one, "a").acquire_for(LIMIT)?;
    assert!(held.release().unwrap_err().is_lost());
    let error = Lock::new(&other, "a").try_acquire().unwrap_err();
    assert!(error.is_contended(), "{error}");
    next.release()
}

#[test]
fn an_older_record_under_a_holder_is_found_out() -> Result<()> {
    for grants in [1, 4] {
        let folder = Folder::new(LONG);
        let (one, other) = (folder.open(), folder.open());
        Lock::new(&other, "a").try_acquire()?.release()?;
        let older = folder.read();
        for _ in 1..grants {
            Lock::new(&other, "a").try_acquire()?.release()?;
        }
        for session in [false, true] {
            let lock = Lock::new(&one, "a");
            let held = if session { lock.session() } else { lock.ttl(LONG) }.try_acquire()?;
            for store in [&one, &other, &folder.open()] {
                for lock in [Lock::new(store, "a"), Lock::new(store, "a").session()] {
                    folder.put(&older);
                    let error = lock.try_acquire().unwrap_err();
                    assert!(error.is_quarantined() && held.is_held(), "after {grants}: {error}");
                }
            }
            assert!(held.renew().unwrap_err().is_lost());
            drop(held);
            folder.put(&older);
        }
    }
    Ok(())
}

#[test]
fn an_older_token_gives_nothing_that_another_holds() -> Result<()> {
    let folder = Folder::new(LONG);
    let (one, other) = (folder.open(), folder.open());
    let lock = Lock::new(&one, "a").ttl(LONG).release_on_drop(false);
    let first = lock.try_acquire()?;
    let (owner, older) = (first.owner(), folder.read());
    first.release()?;
    let held = Lock::new(&one, "a").ttl(LONG).try_acquire()?;
    for store in [&one, &other] {
        folder.put(&older);
        assert!(Lock::new(store, "a").restore(owner).is_err());
        assert!(held.is_held());
    }
    Ok(())
}

#[test]
fn a_broken_holder_takes_nothing_back_with_an_older_record() -> Result<()> {
    let folder = Folder::new(LONG);
    let (one, other) = (folder.open(), folder.open());
    let broken = Lock::new(&one, "a").ttl(LONG).try_acquire()?;
    let older = folder.read();
    other.force_release(&Name::new("a")?, Breaking::Now, "it hangs")?.expect("it was held");
    let held = Lock::new(&other, "a").ttl(LONG).try_acquire()?;
    folder.put(&older);
    assert!(Lock::new(&one, "a").restore(broken.owner()).unwrap_err().is_quarantined());
    assert!(held.is_held() && broken.renew().unwrap_err().is_lost());
    Ok(())
}

#[test]
fn a_release_that_comes_too_late_hides_no_living_holder() -> Result<()> {
    let folder = Folder::new(LONG);
    let (one, other) = (folder.open(), folder.open());
    Lock::new(&one, "a").try_acquire()?.release()?;
    let older = folder.read();
    let brief = Lock::new(&one, "a").ttl(Duration::from_millis(20)).try_acquire()?;
    let held = Lock::new(&one, "a").ttl(LONG).acquire_for(LIMIT)?;
    folder.put(&older);
    assert!(brief.release().unwrap_err().is_lost());
    let error = Lock::new(&other, "a").try_acquire().unwrap_err();
    assert!(error.is_quarantined() && held.is_held(), "{error}");
    Ok(())
}

#[test]
fn a_record_from_before_the_file_was_emptied_is_found_out() -> Result<()> {
    let folder = Folder::new(LONG);
    let (one, other) = (folder.open(), folder.open());
    for _ in 0..3 {
        Lock::new(&one, "a").try_acquire()?.release()?;
    }
    let older = folder.read();
    folder.put(b"");
    let held = Lock::new(&one, "a").ttl(LONG).try_acquire()?;
    for store in [&one, &other] {
        folder.put(&older);
        let error = Lock::new(store, "a").try_acquire().unwrap_err();
        assert!(error.is_quarantined() && held.is_held(), "{error}");
    }
    Ok(())
}

#[test]
fn a_record_that_is_cut_anywhere_opens_again_and_fences_go_on() -> Result<()> {
    let folder = Folder::new(Duration::from_millis(10));
    let (one, other) = (folder.open(), folder.open());
    let mut last = Lock::new(&one, "a").session().try_acquire()?.fence();
    let whole = folder.read();
    for cut in (0..8).chain((8..whole.len()).step_by(61)) {
        folder.put(&whole[..cut]);
        let held = Lock::new(&other, "a").session().acquire_for(LIMIT)?;
        assert!(held.fence() > last, "cut at {cut}");
        last = held.fence();
        held.release()?;
    }
    Ok(())
}

#[test]
fn a_session_outlives_the_quarantine_of_its_record() -> Result<()> {
    let folder = Folder::new(SHORT);
    let (one, other) = (folder.open(), folder.open());
    Lock::new(&one, "a").session().try_acquire()?.release()?;
    let session = Lock::new(&one, "a").session().try_acquire()?;
    folder.flip(HEADER);
    let lock = Lock::new(&other, "a");
    let start = Instant::now();
    let refused = || {
        let error = lock.try_acquire().unwrap_err();
        assert!(error.is_quarantined(), "{error}");
        error.to_string()
    };
    while !refused().contains("a session still lives") {
        assert!(start.elapsed() < LIMIT);
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(start.elapsed() >= SHORT && session.is_held());
    // Nobody asks by itself within a minute: the end of the session tells.
    let record = folder.record();
    let before = descriptions(&record);
    let waiter = std::thread::spawn(move || lock.acquire_for(LIMIT)?.release());
    wait_for_waiter(&other, &record, before);
    drop(session);
    waiter.join().unwrap()
}

#[test]
fn a_holder_is_seen_although_its_label_or_its_key_is_damaged() -> Result<()> {
    let folder = Folder::new(LONG);
    let store = folder.open();
    let name = Name::new("a")?;
    let held = Lock::new(&store, "a").label("worker 7").try_acquire()?;
    folder.flip(LABEL);
    let seen = store.inspect(&name)?.expect("it is held");
    assert_eq!((seen.fence(), seen.label()), (held.fence(), ""));
    assert_eq!(store.list("")?.len(), 1);
    folder.flip(LABEL);
    folder.flip(KEY);
    let seen = store.inspect(&name)?.expect("it is held");
    assert_eq!((seen.fence(), seen.label()), (held.fence(), "worker 7"));
    held.release()
}
