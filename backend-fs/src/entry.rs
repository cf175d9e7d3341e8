//! An open lock file: its record, the mutex in front of it, and the bytes that say who is alive.
//!
//! Byte 0 is the mutex of the record: an open-file-description lock, which the kernel frees when its
//! holder dies. Byte 2^40 + n is locked for as long as the holder of grant n lives. Neither byte
//! need exist. Locks of one open file description do not exclude each other, so the threads of one
//! process meet at a mutex first, and what this process holds is remembered beside it.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use nix::sys::stat::{fstat, futimens};
use nix::sys::time::TimeSpec;
use tenure_core::{Error, Fence, Moment, Result, wall_micros};

use crate::record::{Boot, Record, SIZE, Standing, State, Unreadable};

/// How long the record may be busy: its mutex is held for microseconds, unless a holder was stopped
/// in the middle.
const BUSY: Duration = Duration::from_secs(5);

const ALIVE: u64 = 1 << 40;

/// An open lock file of this process.
#[derive(Debug)]
pub(crate) struct Entry {
    file: File,
    key: Box<str>,
    /// The process that opened it; a forked child must not use it, for it shares the locks.
    pid: u32,
    /// How many promises this process made to tell waiters about it.
    watched: AtomicUsize,
    /// When it was last seen that the path still names this file.
    seen: AtomicU64,
    /// The grants of this process whose alive bytes are locked on `file`.
    alive: Mutex<Vec<u64>>,
}

impl Entry {
    pub(crate) fn new(file: File, key: &str) -> Self {
        Self {
            file,
            key: key.into(),
            pid: std::process::id(),
            watched: AtomicUsize::new(0),
            seen: AtomicU64::new(0),
            alive: Mutex::default(),
        }
    }

    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Whether another process than this one opened it: the parent of a fork.
    pub(crate) fn is_foreign_to(&self, process: u32) -> bool {
        self.pid != process
    }

    /// Whether waiters of this process want to be told.
    pub(crate) fn is_watched(&self) -> bool {
        self.watched.load(Ordering::SeqCst) > 0
    }

    /// One more promise to tell waiters, or one less; how many there were.
    pub(crate) fn watch(&self, more: bool) -> usize {
        match more {
            true => self.watched.fetch_add(1, Ordering::SeqCst),
            false => self.watched.fetch_sub(1, Ordering::SeqCst),
        }
    }

    /// Takes the mutex of the record. `None` if the file is no longer the one that its path names.
    pub(crate) fn lock(&self) -> Result<Option<Locked<'_>>> {
        let alive = self.alive.lock().unwrap_or_else(PoisonError::into_inner);
        let mut pause = Duration::from_micros(20);
        let mut spins = 0;
        let began = Moment::now();
        while let Err(errno) = set_lock(&self.file, 0, libc::F_WRLCK, 1) {
            if !matches!(errno, Errno::EAGAIN | Errno::EACCES | Errno::EINTR) {
                return Err(unavailable("its record could not be locked", errno.into()));
            }
            if spins < 50 {
                spins += 1;
                thread::yield_now();
                continue;
            }
            if Moment::now().since(began) > BUSY {
                return Err(Error::unavailable(format!(
                    "its record has been busy for {BUSY:?}; a process that was stopped while it took or \
                     released the lock must be continued or killed"
                ))
                .settled());
            }
            thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(1));
        }
        let locked = Locked { entry: self, alive, everything: false, announce: false };
        Ok(self.was_linked()?.then_some(locked))
    }

    /// Whether the file was there within the last second. What the collector removes says so in its
    /// record; this is for what others remove, which no lock can survive unharmed.
    fn was_linked(&self) -> Result<bool> {
        let now = Moment::now();
        if now.since(Moment::from_nanos(self.seen.load(Ordering::Relaxed))) < Duration::from_secs(1) {
            return Ok(true);
        }
        self.seen.store(now.as_nanos(), Ordering::Relaxed);
        self.is_linked()
    }

    fn is_linked(&self) -> Result<bool> {
        let about =
            fstat(&self.file).map_err(|errno| unavailable("its file cannot be examined", errno.into()))?;
        Ok(about.st_nlink > 0)
    }

    /// Reads the record without its mutex. Looking changes nothing and waits for nobody.
    pub(crate) fn look(&self) -> Result<Option<Record>> {
        for _ in 0..100 {
            match self.read()? {
                Ok(record) => return Ok(Some(record)),
                Err(Unreadable::Empty) => return Ok(None),
                Err(Unreadable::Newer(version)) => return Err(Unreadable::newer(version)),
                // Perhaps being written right now.
                Err(Unreadable::Torn) => thread::yield_now(),
            }
        }
        Ok(None)
    }

    /// Whether a record's lock is taken now, as far as can be seen without its mutex.
    pub(crate) fn is_taken(&self, record: &Record, boot: &Boot) -> bool {
        match record.standing(Moment::now(), boot) {
            Standing::Free => false,
            Standing::Taken(_) | Standing::Quarantined(_) => true,
            Standing::TakenIfAlive(_) => {
                let ours = self.alive.lock().unwrap_or_else(PoisonError::into_inner).contains(&record.seq);
                ours || is_locked(&self.file, ALIVE + record.seq)
            }
        }
    }

    /// Lets the alive byte of a grant go.
    pub(crate) fn bury(&self, seq: u64) {
        let mut alive = self.alive.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(index) = alive.iter().position(|other| *other == seq) else { return };
        // A forked child shares its parent's locks, and must leave them alone.
        if !self.is_foreign_to(std::process::id()) {
            alive.swap_remove(index);
            let _ = set_lock(&self.file, ALIVE + seq, libc::F_UNLCK, 1);
        }
    }

    fn read(&self) -> Result<Result<Record, Unreadable>> {
        let mut bytes = [0; SIZE];
        let mut filled = 0;
        while filled < SIZE {
            match self.file.read_at(&mut bytes[filled..], filled as u64) {
                Ok(0) => break,
                Ok(more) => filled += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(unavailable("its record cannot be read", error)),
            }
        }
        Ok(Record::from_bytes(&bytes[..filled]))
    }
}

/// A lock file whose record is ours to change.
pub(crate) struct Locked<'e> {
    entry: &'e Entry,
    alive: MutexGuard<'e, Vec<u64>>,
    /// Whether no lock at all stays on the file.
    everything: bool,
    /// Whether those who wait are to be told.
    announce: bool,
}

impl Locked<'_> {
    /// Reads the record; a file that has none gets one, a torn one is closed for `quarantine`.
    pub(crate) fn record(
        &self,
        boot: &Boot,
        quarantine: Duration,
        floor: impl FnOnce() -> Result<Fence>,
    ) -> Result<Record> {
        match self.entry.read()? {
            Ok(record) => Ok(record),
            Err(Unreadable::Newer(version)) => Err(Unreadable::newer(version)),
            Err(Unreadable::Empty) => {
                let record = Record::new(&self.entry.key, floor()?, *boot);
                self.prepare(&record)?;
                Ok(record)
            }
            Err(Unreadable::Torn) => {
                let fence = Fence::next(floor()?, Fence::ZERO, wall_micros());
                let record = Record {
                    // No alive byte of a grant that the lost record knew is met again.
                    seq: wall_micros(),
                    state: State::Quarantined,
                    deadline: Moment::now() + quarantine,
                    ..Record::new(&self.entry.key, fence, *boot)
                };
                self.prepare(&record)?;
                Ok(record)
            }
        }
    }

    /// Whether the collector removed the file after it had marked the record. If it died in between,
    /// the file lives on.
    pub(crate) fn is_removed(&self, record: &mut Record) -> Result<bool> {
        if record.state == State::Retired {
            record.clear();
            return Ok(!self.entry.is_linked()?);
        }
        Ok(false)
    }

    /// Whether the holder of a grant lives, in this process or another one.
    pub(crate) fn is_alive(&self, seq: u64) -> bool {
        self.alive.contains(&seq) || is_locked(&self.entry.file, ALIVE + seq)
    }

    /// Marks a new grant as alive: on this process's file, or on one of its own.
    pub(crate) fn live(&mut self, seq: u64, own: Option<&File>) -> Result<()> {
        set_lock(own.unwrap_or(&self.entry.file), ALIVE + seq, libc::F_WRLCK, 1)
            .map_err(|errno| unavailable("its grant cannot be marked as alive", errno.into()).settled())?;
        if own.is_none() {
            self.alive.push(seq);
            self.everything = false;
        }
        Ok(())
    }

    /// Takes the mark of a grant away.
    pub(crate) fn die(&mut self, seq: u64, own: Option<&File>) {
        if let Some(index) = self.alive.iter().position(|other| *other == seq) {
            self.alive.swap_remove(index);
            if self.alive.is_empty() {
                // Nothing else is locked on this file: it goes with the mutex, in one call.
                self.everything = true;
            } else {
                let _ = set_lock(&self.entry.file, ALIVE + seq, libc::F_UNLCK, 1);
            }
        } else if let Some(own) = own {
            let _ = set_lock(own, ALIVE + seq, libc::F_UNLCK, 1);
        }
    }

    /// Writes the record. Its blocks are there, so that a full disk does not stop a release.
    pub(crate) fn write(&self, record: &Record) -> Result<()> {
        let written = self.entry.file.write_all_at(&record.to_bytes(), 0);
        written.map_err(|error| unavailable("its record cannot be written", error))
    }

    /// Writes a record that those who wait should hear of. They ask again then, and say anew that
    /// they wait.
    pub(crate) fn write_and_tell(&mut self, mut record: Record) -> Result<()> {
        self.announce = std::mem::take(&mut record.awaited);
        self.write(&record)
    }

    /// Makes room, and writes the key and the first record.
    fn prepare(&self, record: &Record) -> Result<()> {
        let key = self.entry.key.as_bytes();
        let size = i64::try_from(SIZE + key.len()).unwrap_or(i64::MAX);
        match nix::fcntl::posix_fallocate(&self.entry.file, 0, size) {
            // Some file systems cannot; writing makes room there.
            Ok(()) | Err(Errno::EOPNOTSUPP | Errno::EINVAL | Errno::ENOSYS) => {}
            Err(errno) => return Err(unavailable("there is no room for its record", errno.into()).settled()),
        }
        let written = self.entry.file.write_all_at(key, SIZE as u64);
        written.map_err(|error| unavailable("there is no room for its record", error).settled())?;
        self.write(record)
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        let length = if self.everything { 0 } else { 1 };
        let _ = set_lock(&self.entry.file, 0, libc::F_UNLCK, length);
        if self.announce {
            // Touching the file is what they hear; only now, when they can have the mutex.
            let _ = futimens(&self.entry.file, &TimeSpec::UTIME_NOW, &TimeSpec::UTIME_NOW);
        }
    }
}

/// Locks or unlocks bytes, without waiting; a length of zero means all that follow.
pub(crate) fn set_lock(file: impl AsFd, from: u64, kind: libc::c_int, length: i64) -> nix::Result<()> {
    fcntl(file, FcntlArg::F_OFD_SETLK(&range(from, kind, length))).map(drop)
}

/// Whether another open file description has a byte locked.
fn is_locked(file: impl AsFd, byte: u64) -> bool {
    let mut found = range(byte, libc::F_WRLCK, 1);
    // What cannot be examined counts as locked: never two holders.
    fcntl(file, FcntlArg::F_OFD_GETLK(&mut found)).map_or(true, |_| i32::from(found.l_type) != libc::F_UNLCK)
}

fn range(from: u64, kind: libc::c_int, length: i64) -> libc::flock {
    libc::flock {
        l_type: libc::c_short::try_from(kind).expect("the kinds of locks are 0, 1 and 2"),
        l_whence: 0,
        l_start: libc::off_t::try_from(from).expect("grants are numbered below 2^62"),
        l_len: length,
        l_pid: 0,
    }
}

/// An error of the file system, with what can be done about it.
pub(crate) fn unavailable(what: &str, error: io::Error) -> Error {
    let remedy = match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ENOSPC | Errno::EDQUOT) => "; the disk is full",
        Some(Errno::EROFS) => "; the file system is read-only",
        Some(Errno::EACCES | Errno::EPERM) => "; this user has no permission",
        Some(Errno::EMFILE) => "; each held lock takes a file descriptor: raise `ulimit -n`",
        Some(Errno::ENFILE) => "; the system has no file descriptors left",
        Some(Errno::ENOLCK) => "; the file system has no locks left, or none at all",
        Some(Errno::ENOENT) => "; the folder was removed",
        Some(Errno::ELOOP) => "; it is a link, which is never followed: remove it",
        _ => "",
    };
    Error::unavailable(format!("{what}{remedy}")).with_source(error)
}
