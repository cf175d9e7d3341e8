//! Disks that are full, and files that cannot be written to.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use tenure_core::{Error, Held, Lock};
use tenure_db::Db;
use tenure_servers::{self as servers, Outcome, Stop, Test};

use crate::support::{Database, eventually, open, unavailable};

pub(crate) const TESTS: &[Test] = servers::tests![
    a_full_disk_refuses_locks_of_sqlite_and_loses_none,
    a_full_disk_refuses_locks_of_an_applications_file_and_loses_none,
    a_full_disk_refuses_locks_of_postgres_and_loses_none,
    a_full_disk_refuses_locks_of_mariadb_and_loses_none,
    a_file_that_cannot_be_written_to_says_what_to_do,
];

/// A small file system of its own.
struct Small {
    place: PathBuf,
}

/// Whom servers run as if we are root.
const NOBODY: u32 = 65534;

impl Small {
    /// One of so many kibibytes at this place, which servers can write to.
    fn at(place: &Path, kibibytes: u32) -> Outcome<Self> {
        let options = format!("size={kibibytes}k,mode=777,uid={NOBODY},gid={NOBODY}");
        let flags = MsFlags::empty();
        match mount(Some("tenure-test"), place, Some("tmpfs"), flags, Some(&*options)) {
            Ok(()) => Ok(Self { place: place.into() }),
            Err(error) => Err(Stop::Ignored(format!("no file system can be mounted here: {error}").into())),
        }
    }

    /// Takes all the room that is left.
    fn fill(&self) -> Outcome {
        let mut file = File::create(self.filler())?;
        // By ever less, so that not even a page is left.
        for size in [1 << 16, 1 << 12, 1] {
            while file.write_all(&vec![0; size]).is_ok() {}
        }
        Ok(())
    }

    fn make_room(&self) -> Outcome {
        Ok(fs::remove_file(self.filler())?)
    }

    fn filler(&self) -> PathBuf {
        self.place.join("filler")
    }

    /// Waits for the connections of stores that were dropped, which are closed in the background.
    fn make_read_only(&self) {
        let flags = MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
        let remount = || mount(None::<&str>, &self.place, None::<&str>, flags, None::<&str>);
        eventually("nobody writes there", || remount().is_ok());
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // Who still has files there open does not matter.
        let _ = umount2(&self.place, MntFlags::MNT_DETACH);
    }
}

/// Takes locks until no more have room, and looks at what became of those that were granted.
fn holds_out(url: &str, disk: &Small) -> Outcome {
    let (store, other) = (open(url)?, open(url)?);
    let first = Lock::new(&store, "first").try_acquire()?;
    disk.fill()?;
    let (held, refused, error) = take_until_refused(&store)?;
    assert!(error.is_unavailable() && error.to_string().contains("disk is full"), "{error:?}");
    unavailable(|| Lock::new(&other, &refused).try_acquire());
    // Those that were granted before are neither given away nor called lost.
    for lock in held.iter().chain([&first]) {
        assert!(lock.renew().err().is_none_or(|error| error.is_unavailable()), "{}", lock.name());
        let second = Lock::new(&other, lock.name()).try_acquire();
        assert!(
            second.as_ref().is_err_and(|error| error.is_contended() || error.is_unavailable()),
            "{second:?}"
        );
    }
    disk.make_room()?;
    eventually("what was refused is granted", || Lock::new(&other, &refused).try_acquire().is_ok());
    for lock in held.into_iter().chain([first]) {
        lock.renew()?;
        let (name, fence) = (lock.name().to_owned(), lock.fence());
        assert!(Lock::new(&other, &name).try_acquire().is_err_and(|error| error.is_contended()), "{name}");
        lock.release()?;
        assert!(Lock::new(&other, &name).try_acquire()?.fence() > fence, "{name}");
    }
    Ok(())
}

type Taken = Lock<Db, Held>;

/// Locks, the name of the one that was refused, and why.
fn take_until_refused(store: &Db) -> Outcome<(Vec<Taken>, String, Error)> {
    let mut held = Vec::new();
    for number in 0..5000 {
        let name = format!("{number} {}", "x".repeat(200));
        match Lock::new(store, &name).try_acquire() {
            Ok(lock) => held.push(lock),
            Err(error) => return Ok((held, name, error)),
        }
    }
    Err(Stop::failed("there is always room"))
}

/// Where a file of SQLite is to be.
fn small_file() -> Outcome<(Database, Small)> {
    let folder = tempfile::tempdir()?;
    let disk = Small::at(folder.path(), 512)?;
    Ok((Database::Sqlite(folder), disk))
}

fn a_full_disk_refuses_locks_of_sqlite_and_loses_none() -> Outcome {
    let (database, disk) = small_file()?;
    holds_out(&database.url(), &disk)
}

fn a_full_disk_refuses_locks_of_an_applications_file_and_loses_none() -> Outcome {
    let (database, disk) = small_file()?;
    // Such a file is not in WAL mode.
    database.sql("CREATE TABLE own (x INTEGER)")?;
    holds_out(&database.url(), &disk)
}

fn a_full_disk_refuses_locks_of_postgres_and_loses_none() -> Outcome {
    let server = servers::postgres()?;
    let folder = tempfile::tempdir()?;
    let disk = Small::at(folder.path(), 16 << 10)?;
    server.sql(&format!("CREATE TABLESPACE small LOCATION '{}'", folder.path().display()))?;
    server.sql("CREATE DATABASE app TABLESPACE small")?;
    holds_out(&server.url_of("app"), &disk)
}

fn a_full_disk_refuses_locks_of_mariadb_and_loses_none() -> Outcome {
    let server = servers::mariadb()?;
    let url = server.database("app")?;
    let socket = server.socket();
    let place = socket.parent().expect("it is in a directory").join("data/app");
    let disk = Small::at(&place, 2 << 10)?;
    holds_out(&url, &disk)
}

fn a_file_that_cannot_be_written_to_says_what_to_do() -> Outcome {
    for mode in ["WAL", "DELETE"] {
        let (database, disk) = small_file()?;
        database.sql(&format!("PRAGMA journal_mode = {mode}"))?;
        Lock::new(&open(&database.url())?, "job").try_acquire()?.release()?;
        disk.make_read_only();
        let refused = open(&database.url()).and_then(|store| Lock::new(&store, "job").try_acquire());
        let error = refused.err().ok_or("granted").map_err(Stop::failed)?;
        assert!(error.is_unavailable() && error.to_string().contains("right to write"), "{mode}: {error:?}");
    }
    Ok(())
}
