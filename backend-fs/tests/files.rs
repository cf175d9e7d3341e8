//! What is true of locks in files, within one process.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "helpers of tests, outside of test functions")]

mod support;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, Instant};

use support::{descriptions, wait_for_waiter};
use tenure_core::{AnyBackend, Breaking, Cause, Inspect, Lock, Name, Result, Settings};
use tenure_fs::Files;

fn store() -> (tempfile::TempDir, Files) {
    let dir = tempfile::tempdir().unwrap();
    let files = Files::open(dir.path().join("locks")).unwrap();
    (dir, files)
}

fn record(dir: &tempfile::TempDir, name: &str) -> std::path::PathBuf {
    dir.path().join("locks").join(format!("lock={name}.lock"))
}

#[test]
fn a_lock_is_exclusive_between_stores_of_one_process_and_fences_grow() -> Result<()> {
    let (dir, files) = store();
    let other = Files::open(dir.path().join("locks"))?;
    let mut last = tenure_core::Fence::ZERO;
    for _ in 0..3 {
        let held = Lock::new(&files, "a").try_acquire()?;
        assert!(held.fence() > last);
        last = held.fence();
        for contender in [&files, &other] {
            let error = Lock::new(contender, "a").try_acquire().unwrap_err();
            assert!(error.is_contended(), "{error}");
            assert_eq!(error.holder(), Some(held.fence()));
        }
        held.renew()?;
        held.release()?;
        Lock::new(&other, "a").try_acquire()?.release()?;
    }
    Ok(())
}

#[test]
fn a_lease_ends_no_sooner_than_asked_and_a_late_release_harms_nobody() -> Result<()> {
    let (_dir, files) = store();
    let start = Instant::now();
    let first = Lock::new(&files, "a").ttl(Duration::from_millis(60)).try_acquire()?;
    let second = Lock::new(&files, "a").acquire_for(Duration::from_secs(5))?;
    assert!(start.elapsed() >= Duration::from_millis(60));
    assert_eq!(first.release().unwrap_err().cause(), Some(Cause::Expired));
    assert!(Lock::new(&files, "a").try_acquire().is_err_and(|error| error.is_contended()));
    second.release()
}

#[test]
fn a_release_wakes_the_waiter_of_another_store() -> Result<()> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("locks");
    // Without a notification it would sleep for a minute.
    let slow =
        Settings::default().with_sleep(Duration::from_secs(60))?.with_recheck(Duration::from_secs(60))?;
    let (one, other) =
        (Files::builder(&path).settings(slow.clone()).open()?, Files::builder(&path).settings(slow).open()?);
    let held = Lock::new(&one, "a").try_acquire()?;
    let lock = Lock::new(&other, "a");
    let error = lock.try_acquire().unwrap_err();
    assert!(error.is_contended(), "{error}");
    let record = support::record(&path);
    let before = descriptions(&record);
    let waiter = std::thread::spawn(move || {
        let lock = lock.acquire_for(Duration::from_secs(20))?;
        let got = Instant::now();
        lock.release()?;
        Ok::<_, tenure_core::Error>(got)
    });
    wait_for_waiter(&other, &record, before);
    let released = Instant::now();
    held.release()?;
    let got = waiter.join().unwrap()?;
    assert!(got.duration_since(released) < Duration::from_secs(1), "{:?}", got - released);
    Ok(())
}

#[test]
fn a_link_is_not_followed_and_a_foreign_file_not_written() -> Result<()> {
    let (dir, files) = store();
    let target = dir.path().join("target");
    fs::write(&target, "mine").unwrap();
    let empty = dir.path().join("empty");
    fs::write(&empty, "").unwrap();
    symlink(&empty, record(&dir, "link")).unwrap();
    fs::hard_link(&target, record(&dir, "hard")).unwrap();
    fs::write(record(&dir, "text"), "# a text").unwrap();
    fs::create_dir(record(&dir, "dir")).unwrap();
    for name in ["link", "hard", "text", "dir"] {
        let error = Lock::new(&files, name).try_acquire().unwrap_err();
        assert!(error.is_misconfigured() || name == "dir", "{name}: {error}");
    }
    assert_eq!(fs::read_to_string(&target).unwrap(), "mine");
    assert_eq!(fs::metadata(&empty).unwrap().len(), 0);
    assert_eq!(fs::read_to_string(record(&dir, "text")).unwrap(), "# a text");
    Ok(())
}

#[test]
fn a_folder_that_others_could_write_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    let refused = |path: &Path| Files::open(path).unwrap_err().is_misconfigured();
    let path = dir.path().join("shared");
    fs::create_dir(&path).unwrap();
    mode(&path, 0o1777);
    assert!(refused(&path));
    mode(&path, 0o770);
    assert!(refused(&path));
    assert!(Files::builder(&path).group(true).open().is_ok());
    mode(&path, 0o755);
    assert!(Files::open(&path).is_ok());
    symlink(&path, dir.path().join("link")).unwrap();
    assert!(refused(&dir.path().join("link")));
    fs::write(dir.path().join("file"), "").unwrap();
    assert!(refused(&dir.path().join("file")));
}

#[test]
fn files_are_for_one_user_by_default_and_for_a_group_on_purpose() -> Result<()> {
    let dir = tempfile::tempdir().unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
    for (group, folder, file) in [(false, 0o700, 0o600), (true, 0o2770, 0o660)] {
        let path = dir.path().join(format!("deep/{group}"));
        let files = Files::builder(&path).group(group).open()?;
        Lock::new(&files, "a").try_acquire()?.release()?;
        assert_eq!(mode(&path), folder);
        assert_eq!(mode(&path.join("lock=a.lock")), file);
    }
    Ok(())
}

#[test]
fn a_torn_record_is_quarantined_and_a_newer_one_refused() -> Result<()> {
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings::default()
        .with_lease(Duration::from_millis(100))?
        .with_max_ttl(Duration::from_millis(300))?;
    let files = Files::builder(dir.path().join("locks")).settings(settings).open()?;
    let held = Lock::new(&files, "a").try_acquire()?;
    let path = record(&dir, "a");
    let whole = fs::read(&path).unwrap();
    let mut torn = whole.clone();
    torn[60] ^= 1;
    let start = Instant::now();
    fs::write(&path, &torn).unwrap();
    assert!(Lock::new(&files, "a").try_acquire().unwrap_err().is_quarantined());
    assert!(held.renew().unwrap_err().is_lost());
    let after = Lock::new(&files, "a").acquire_for(Duration::from_secs(5))?;
    assert!(start.elapsed() >= Duration::from_millis(300) && after.fence() > held.fence());
    // Emptied under a holder: not a new file either.
    fs::write(&path, b"").unwrap();
    assert!(Lock::new(&files, "a").try_acquire().unwrap_err().is_quarantined());
    let mut newer = whole;
    newer[6] = 9;
    fs::write(&path, &newer).unwrap();
    let error = Lock::new(&files, "a").try_acquire().unwrap_err();
    assert!(error.is_misconfigured() && error.to_string().contains("upgrade"), "{error}");
    Ok(())
}

#[test]
fn the_record_of_another_name_is_refused() -> Result<()> {
    let (dir, files) = store();
    Lock::new(&files, "a").try_acquire()?.release()?;
    fs::copy(record(&dir, "a"), record(&dir, "b")).unwrap();
    let error = Lock::new(&files, "b").try_acquire().unwrap_err();
    assert!(error.is_misconfigured() && error.to_string().contains("lock:a"), "{error}");
    Ok(())
}

#[test]
fn a_removed_file_is_noticed_by_holder_and_taker() -> Result<()> {
    let (dir, files) = store();
    let lock = Lock::new(&files, "a");
    let held = lock.try_acquire()?;
    fs::remove_file(record(&dir, "a")).unwrap();
    assert_eq!(held.renew().unwrap_err().cause(), Some(Cause::Superseded));
    drop(held);
    let held = lock.try_acquire()?;
    assert!(record(&dir, "a").exists());
    assert!(Lock::new(&Files::open(dir.path().join("locks"))?, "a").try_acquire().is_err());
    held.release()
}

#[test]
fn locks_are_seen_and_broken_from_outside() -> Result<()> {
    let (dir, files) = store();
    let outside = Files::open(dir.path().join("locks"))?;
    let name = Name::new("a")?;
    let held = Lock::new(&files, "a").label("worker 7").try_acquire()?;
    let session = Lock::new(&files, "B/c").session().try_acquire()?;
    let seen = outside.inspect(&name)?.unwrap();
    assert_eq!((seen.label(), seen.fence()), ("worker 7", held.fence()));
    assert!(seen.remaining().is_some() && seen.since().is_some());
    let list: Vec<_> = outside.list("")?.iter().map(|holder| holder.name().to_string()).collect();
    assert_eq!(list, ["B/c", "a"]);
    assert_eq!(outside.list("B")?.len(), 1);
    assert!(session.deadline().is_none() && outside.list("B")?[0].remaining().is_none());

    outside.force_release(&name, Breaking::Safe, "stuck")?.unwrap();
    let seen = outside.inspect(&name)?.unwrap();
    assert!(seen.breaking() == Some("stuck") && seen.fence() > held.fence());
    assert!(Lock::new(&outside, "a").try_acquire().unwrap_err().is_contended());
    assert_eq!(held.renew().unwrap_err().cause(), Some(Cause::Forced));
    assert_eq!(held.release().unwrap_err().cause(), Some(Cause::Forced));
    let next = Lock::new(&outside, "a").try_acquire()?;
    assert!(next.fence() > seen.fence());

    outside.force_release(&name, Breaking::Now, "now")?.unwrap();
    assert!(outside.inspect(&name)?.is_none());
    assert_eq!(next.renew().unwrap_err().cause(), Some(Cause::Forced));
    let last = Lock::new(&files, "a").try_acquire()?;
    assert!(next.release().unwrap_err().is_lost() && last.renew().is_ok());
    Ok(())
}

#[test]
fn a_restored_lock_is_the_same_grant() -> Result<()> {
    let (_dir, files) = store();
    let lock = Lock::new(&files, "a").release_on_drop(false);
    let held = lock.try_acquire()?;
    let (owner, fence) = (held.owner(), held.fence());
    drop(held);
    assert!(lock.try_acquire().is_err());
    let again = Lock::new(&files, "a").restore(owner)?;
    assert_eq!(again.fence(), fence);
    again.release()?;
    assert!(Lock::new(&files, "a").restore(owner).unwrap_err().is_lost());
    Ok(())
}

#[test]
fn collecting_removes_what_is_unused_and_fences_go_on() -> Result<()> {
    let (dir, files) = store();
    let lock = Lock::new(&files, "a");
    let held = Lock::new(&files, "held").session().try_acquire()?;
    let before = lock.try_acquire()?;
    let fence = before.fence();
    before.release()?;
    assert_eq!(files.collect(Duration::from_secs(60))?.removed(), 0);
    assert_eq!(files.collect(Duration::ZERO)?.removed(), 1);
    assert!(!record(&dir, "a").exists() && record(&dir, "held").exists());
    assert!(lock.try_acquire()?.fence() > fence);
    assert!(Lock::new(&files, "a").try_acquire()?.fence() > fence);
    held.release()
}

#[test]
fn who_has_a_collected_file_open_locks_the_new_one() -> Result<()> {
    let (dir, files) = store();
    let lock = Lock::new(&files, "a");
    let collector = Files::open(dir.path().join("locks"))?;
    for _ in 0..50 {
        lock.try_acquire()?.release()?;
        assert_eq!(collector.collect(Duration::ZERO)?.removed(), 1);
        let held = lock.try_acquire()?;
        let other = Files::open(dir.path().join("locks"))?;
        assert!(Lock::new(&other, "a").try_acquire().unwrap_err().is_contended());
        held.release()?;
    }
    Ok(())
}

#[test]
fn many_names_need_few_descriptors() -> Result<()> {
    let (_dir, files) = store();
    let locks: Vec<_> = (0..600).map(|index| Lock::new(&files, format!("name-{index}"))).collect();
    for lock in &locks {
        lock.try_acquire()?.release()?;
    }
    let open = fs::read_dir("/proc/self/fd").unwrap().filter_map(std::result::Result::ok);
    let links = open.filter_map(|fd| fs::read_link(fd.path()).ok());
    let ours = links.filter(|path| path.to_string_lossy().contains("lock=name-")).count();
    assert!(ours <= 300, "{ours} open");
    Ok(())
}

#[test]
fn an_erased_store_can_do_all_that_the_store_can() {
    let (_dir, files) = store();
    let any = AnyBackend::from(files);
    assert!(any.inspect().is_some() && any.restorable().is_some() && any.sessions().is_some());
}
