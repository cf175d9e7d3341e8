//! One open record file, and what happens under its byte 0.

use std::cell::{Cell, OnceCell};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::sys::stat::fstat;
use tenure_core::{Error, Moment, Result};

use crate::ofd::{self, Kind, Range};
use crate::queue::Queue;
use crate::record::{HEADER, KEY, LABEL, Parsed, Process, REASON, Record, sum};
use crate::task;

/// A record file as one process has it open.
///
/// Byte locks exclude descriptions, not threads, so a mutex stands in front of byte 0, and the alive
/// bytes that this very description has locked are counted here: asking the kernel would not show
/// them.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) key: Box<str>,
    pub(crate) file_name: Box<str>,
    pub(crate) file: File,
    /// Whose it is; a forked child opens its own.
    pub(crate) process: Process,
    /// When it was last seen to have a name, in nanoseconds since boot.
    named_at: AtomicU64,
    gate: Mutex<()>,
    alive: Mutex<Vec<Alive>>,
    retired: AtomicBool,
    pub(crate) queue: Queue,
}

#[derive(Debug)]
struct Alive {
    seq: u64,
    /// The number of the grant before it, which may be much smaller.
    after: u64,
    grants: u32,
}

/// How long one may wait for another that is inside the record, where it stays for microseconds.
const PATIENCE: Duration = Duration::from_secs(3);

impl Entry {
    pub(crate) fn new(key: &str, file_name: &str, file: File, process: Process) -> Self {
        Self {
            key: key.into(),
            file_name: file_name.into(),
            file,
            process,
            named_at: AtomicU64::new(0),
            gate: Mutex::default(),
            alive: Mutex::default(),
            retired: AtomicBool::new(false),
            queue: Queue::default(),
        }
    }

    /// Whether the file was seen to be removed, so that it must be opened anew.
    pub(crate) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Relaxed)
    }

    /// Whether somebody removed the file by hand, so that others open a new one and do not meet this
    /// one's locks. It costs as much as a lock, so what was seen within `grace` is believed.
    pub(crate) fn is_removed(&self, now: Moment, grace: Duration) -> Result<bool> {
        let named_at = Moment::from_nanos(self.named_at.load(Ordering::Relaxed));
        if now.since(named_at) < grace {
            return Ok(false);
        }
        let found =
            fstat(&self.file).map_err(|errno| refused("the record cannot be looked at", errno.into()))?;
        if found.st_nlink > 0 {
            self.named_at.store(now.as_nanos(), Ordering::Relaxed);
            return Ok(false);
        }
        self.retire();
        Ok(true)
    }

    pub(crate) fn retire(&self) {
        self.retired.store(true, Ordering::Relaxed);
    }

    /// Locks byte 0. Everything that reads a record in order to change it happens inside.
    ///
    /// # Errors
    ///
    /// `Unavailable`, settled, if another process stays inside for three seconds: it is stopped.
    pub(crate) fn enter(&self) -> Result<Inside<'_>> {
        let limit = OnceCell::new();
        let gate = match self.gate.try_lock() {
            Ok(gate) => gate,
            Err(_) => {
                task::may_wait()?;
                limit.get_or_init(|| Moment::now() + PATIENCE);
                self.gate.lock().unwrap_or_else(PoisonError::into_inner)
            }
        };
        let mut tries = 0_u32;
        loop {
            match ofd::try_lock(&self.file, Kind::Write, Range::RECORD) {
                Ok(true) => {
                    let inside = Inside { entry: self, locked: Cell::new(Range::RECORD), _gate: gate };
                    return task::is_wanted().map(|()| inside);
                }
                Ok(false) => task::may_wait()?,
                Err(source) => return Err(no_byte_locks(source)),
            }
            let limit = *limit.get_or_init(|| Moment::now() + PATIENCE);
            if Moment::now() >= limit {
                return Err(Error::unavailable(
                    "another process has been changing the record for three seconds; it is stopped, or \
                     its host is overloaded: let it go on, or end it",
                )
                .settled());
            }
            pause(tries);
            tries += 1;
        }
    }

    /// Counts one more user of an alive byte; false if it is not locked here any more.
    pub(crate) fn join(&self, seq: u64) -> bool {
        let mut alive = self.alive();
        let known = alive.iter_mut().find(|known| known.seq == seq);
        known.map(|known| known.grants += 1).is_some()
    }

    /// Gives up one user's alive byte; the last one unlocks it.
    pub(crate) fn leave(&self, seq: u64) {
        let mut alive = self.alive();
        if let Some(index) = alive.iter().position(|known| known.seq == seq) {
            alive[index].grants -= 1;
            if alive[index].grants == 0 {
                self.unlock(&alive.swap_remove(index));
            }
        }
    }

    /// Unlocks an alive byte, whoever else counted on it: the grant has ended.
    pub(crate) fn end(&self, seq: u64) {
        let mut alive = self.alive();
        if let Some(index) = alive.iter().position(|known| known.seq == seq) {
            self.unlock(&alive.swap_remove(index));
        }
    }

    fn unlock(&self, alive: &Alive) {
        ofd::unlock(&self.file, Range::alive_between(alive.after, alive.seq));
    }

    pub(crate) fn is_alive_here(&self, seq: u64) -> bool {
        self.alive().iter().any(|known| known.seq == seq)
    }

    /// Whether the holder with this alive byte lives, in this process or another.
    pub(crate) fn is_alive(&self, seq: u64) -> Result<bool> {
        Ok(self.is_alive_here(seq) || is_locked(&self.file, Range::alive(seq))?)
    }

    /// Whether any holder of this file lives, whatever its record says.
    pub(crate) fn is_anyone_alive(&self) -> Result<bool> {
        Ok(!self.alive().is_empty() || is_locked(&self.file, Range::ALIVE)?)
    }

    /// Whether the holder of a grant after this number lives.
    pub(crate) fn is_alive_after(&self, seq: u64) -> Result<bool> {
        let here = self.alive().iter().any(|known| known.seq > seq);
        Ok(here || is_locked(&self.file, Range::alive_after(seq))?)
    }

    /// The number of the latest grant whose holder lives, zero if none does.
    pub(crate) fn latest_alive(&self) -> Result<u64> {
        let here = self.alive().iter().map(|known| known.seq).max();
        let elsewhere = ofd::latest_alive(&self.file).map_err(no_byte_locks)?;
        Ok(here.max(elsewhere).unwrap_or(0))
    }

    /// Whether a session of this file lives, whatever its record says.
    pub(crate) fn is_session_alive(&self) -> Result<bool> {
        is_locked(&self.file, Range::SESSION)
    }

    /// Reads the header without entering, as a look that may cross a write.
    pub(crate) fn peek(&self) -> Result<Parsed> {
        read_header(&self.file)
    }

    fn alive(&self) -> MutexGuard<'_, Vec<Alive>> {
        self.alive.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The record's critical section; ends when dropped.
pub(crate) struct Inside<'e> {
    pub(crate) entry: &'e Entry,
    /// What to unlock at the end: byte 0, and what may go in the same call.
    locked: Cell<Range>,
    _gate: MutexGuard<'e, ()>,
}

impl Inside<'_> {
    /// Reads the record, and checks that it is the one of the entry's key.
    ///
    /// # Errors
    ///
    /// `Misconfigured` if the file is not one of ours to write, `Unavailable` if it cannot be read.
    pub(crate) fn read(&self) -> Result<Parsed> {
        let parsed = read_header(&self.entry.file)?;
        match &parsed {
            Parsed::Record(record) if record.key_sum != sum(self.entry.key.as_bytes()) => {
                match read_key(&self.entry.file, record)? {
                    None => Ok(Parsed::Torn),
                    Some(other) => Err(Error::misconfigured(format!(
                        "the record file {:?} belongs to the lock {other:?}; choose another name",
                        self.entry.file_name
                    ))),
                }
            }
            Parsed::Foreign => Err(Error::misconfigured(format!(
                "{:?} is not a lock record but a text; use a folder of its own for locks",
                self.entry.file_name
            ))),
            Parsed::Newer(version) => Err(Error::misconfigured(format!(
                "the record has format {version}, of a later release; upgrade this program, or use \
                 another folder"
            ))),
            _ => Ok(parsed),
        }
    }

    /// Writes the header alone.
    pub(crate) fn write(&self, record: &Record) -> Result<()> {
        self.write_at(&record.encode(), 0)
    }

    /// Writes header and texts in one go.
    pub(crate) fn write_described(&self, record: &mut Record, label: &str, reason: &str) -> Result<()> {
        let (label, reason) = record.describe(label, reason);
        let mut bytes = [0; KEY];
        bytes[..HEADER].copy_from_slice(&record.encode());
        bytes[LABEL..LABEL + label.len()].copy_from_slice(label.as_bytes());
        bytes[REASON..REASON + reason.len()].copy_from_slice(reason.as_bytes());
        let end = if reason.is_empty() { LABEL + label.len() } else { REASON + reason.len() };
        self.write_at(&bytes[..end], 0)
    }

    /// Writes a whole new record: its blocks, then the key, and the header that makes it count last.
    pub(crate) fn create(&self, record: &Record) -> Result<()> {
        let key = self.entry.key.as_bytes();
        let len = KEY + key.len();
        preallocate(&self.entry.file, len)
            .and_then(|()| self.entry.file.write_all_at(key, KEY as u64))
            .map_err(|source| refused("no room for a new record; free some space on the disk", source))?;
        self.write(record)
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> Result<()> {
        self.entry
            .file
            .write_all_at(bytes, at)
            .map_err(|source| Error::unavailable("the record could not be written").with_source(source))
    }
}

impl Inside<'_> {
    /// Locks the alive byte of a new grant, the one after number `after`. False if the holder of any
    /// grant after that lives: then the record that says so is not the last one.
    ///
    /// The bytes of all later grants are locked with it, in the same call, and unlocked with byte 0.
    pub(crate) fn come_alive(&self, after: u64, seq: u64) -> Result<bool> {
        let mut alive = self.entry.alive();
        let later = Range::alive_after(after);
        let last = alive.iter().all(|known| known.seq <= after)
            && ofd::try_lock(&self.entry.file, Kind::Write, later).map_err(no_byte_locks)?;
        if last {
            self.locked.set(Range::before_alive(seq));
            alive.push(Alive { seq, after, grants: 1 });
        }
        Ok(last)
    }

    /// Ends a grant, whoever else counted on its alive byte, and leaves. If no other holder lives
    /// here, one call unlocks everything.
    pub(crate) fn end(self, seq: u64) {
        let mut alive = self.entry.alive();
        if alive.iter().all(|known| known.seq == seq) {
            alive.clear();
            self.locked.set(Range::ALL);
        } else {
            drop(alive);
            self.entry.end(seq);
        }
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        ofd::unlock(&self.entry.file, self.locked.get());
    }
}

/// Locks the alive byte of a session, which was seen to be free, and the byte of all sessions.
pub(crate) fn lock_session(file: &File, seq: u64) -> Result<()> {
    for (kind, range) in [(Kind::Write, Range::alive(seq)), (Kind::Read, Range::SESSION)] {
        if !ofd::try_lock(file, kind, range).map_err(no_byte_locks)? {
            return Err(Error::unavailable(
                "a program that is not of tenure has locked bytes of the record file; end it",
            )
            .settled());
        }
    }
    Ok(())
}

pub(crate) fn is_locked(file: &File, range: Range) -> Result<bool> {
    ofd::is_locked(file, range).map_err(no_byte_locks)
}

fn no_byte_locks(source: io::Error) -> Error {
    refused("the file system has no byte locks", source)
}

pub(crate) fn read_header(file: &File) -> Result<Parsed> {
    let mut bytes = [0; HEADER];
    let len = read_at(file, &mut bytes, 0)?;
    Ok(Parsed::read(&bytes[..len]))
}

/// Reads the key of a record; `None` if its bytes are not whole.
pub(crate) fn read_key(file: &File, record: &Record) -> Result<Option<String>> {
    const LONGEST: u32 = 128 * 1024;
    if record.key_len > LONGEST {
        return Ok(None);
    }
    let mut key = vec![0; record.key_len as usize];
    let len = read_at(file, &mut key, KEY as u64)?;
    let whole = len == key.len() && sum(&key) == record.key_sum;
    Ok(whole.then(|| String::from_utf8(key).ok()).flatten())
}

/// Reads as many bytes as there are.
pub(crate) fn read_at(file: &File, bytes: &mut [u8], at: u64) -> Result<usize> {
    let mut len = 0;
    while len < bytes.len() {
        match file.read_at(&mut bytes[len..], at + len as u64) {
            Ok(0) => break,
            Ok(more) => len += more,
            Err(source) if source.kind() == io::ErrorKind::Interrupted => {}
            Err(source) => return Err(refused("the record could not be read", source)),
        }
    }
    Ok(len)
}

/// Nothing was done, and this is why.
pub(crate) fn refused(message: &str, source: io::Error) -> Error {
    Error::unavailable(message).with_source(source).settled()
}

/// Reserves blocks where the file system can, so that a full disk stops no release.
fn preallocate(file: &File, len: usize) -> io::Result<()> {
    use nix::errno::Errno;
    use nix::fcntl::{FallocateFlags, fallocate};

    let len = i64::try_from(len).map_err(io::Error::other)?;
    match fallocate(file, FallocateFlags::FALLOC_FL_KEEP_SIZE, 0, len) {
        // What cannot reserve writes the record in place all the same.
        Ok(()) | Err(Errno::EOPNOTSUPP | Errno::ENOSYS) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Waits a little longer each time: the one inside needs microseconds if it runs at all.
fn pause(tries: u32) {
    match tries {
        0..50 => std::hint::spin_loop(),
        50..100 => std::thread::yield_now(),
        _ => std::thread::sleep(Duration::from_micros(50 << (tries - 100).min(5))),
    }
}
