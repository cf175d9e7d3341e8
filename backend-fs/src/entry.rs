//! One open record file, and what happens under its byte 0.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::sys::stat::fstat;
use tenure_core::{Error, Moment, Result};

use crate::ofd::{self, Kind, Range};
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
}

#[derive(Debug)]
struct Alive {
    seq: u64,
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
        let limit = std::cell::OnceCell::new();
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
                    let inside = Inside { entry: self, all: false, _gate: gate };
                    return task::is_wanted().map(|()| inside);
                }
                Ok(false) => task::may_wait()?,
                Err(source) => return Err(refused("the file system has no byte locks", source)),
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

    /// Locks the alive byte of a grant, or counts one more user of it.
    pub(crate) fn come_alive(&self, seq: u64) -> Result<()> {
        let mut alive = self.alive();
        if let Some(known) = alive.iter_mut().find(|known| known.seq == seq) {
            known.grants += 1;
            return Ok(());
        }
        lock_alive(&self.file, seq)?;
        alive.push(Alive { seq, grants: 1 });
        Ok(())
    }

    /// Gives up one user's alive byte; the last one unlocks it.
    pub(crate) fn leave(&self, seq: u64) {
        let mut alive = self.alive();
        if let Some(index) = alive.iter().position(|known| known.seq == seq) {
            alive[index].grants -= 1;
            if alive[index].grants == 0 {
                alive.swap_remove(index);
                ofd::unlock(&self.file, Range::alive(seq));
            }
        }
    }

    /// Unlocks an alive byte, whoever else counted on it: the grant has ended.
    pub(crate) fn end(&self, seq: u64) {
        let mut alive = self.alive();
        if let Some(index) = alive.iter().position(|known| known.seq == seq) {
            alive.swap_remove(index);
            ofd::unlock(&self.file, Range::alive(seq));
        }
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
    entry: &'e Entry,
    /// Whether to unlock the alive bytes with byte 0.
    all: bool,
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
    /// Leaves a record that nobody holds any more: what this description has of alive bytes is of
    /// no use then, and goes in the same call.
    pub(crate) fn leave_free(mut self) {
        self.entry.alive().clear();
        self.all = true;
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        ofd::unlock(&self.entry.file, if self.all { Range::ALL } else { Range::RECORD });
    }
}

/// Locks the alive byte of a grant on a description.
pub(crate) fn lock_alive(file: &File, seq: u64) -> Result<()> {
    match ofd::try_lock(file, Kind::Write, Range::alive(seq)) {
        Ok(true) => Ok(()),
        Ok(false) => Err(Error::unavailable(
            "another process has locked this grant's alive byte; nothing of tenure does that",
        )
        .settled()),
        Err(source) => Err(refused("the file system has no byte locks", source)),
    }
}

pub(crate) fn is_locked(file: &File, range: Range) -> Result<bool> {
    ofd::is_locked(file, range).map_err(|source| refused("the file system has no byte locks", source))
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
