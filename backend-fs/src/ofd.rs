//! Byte locks of an open file description, without blocking.
//!
//! Unlike POSIX record locks they are not lost when another descriptor of the file is closed, and
//! they end when the last copy of the descriptor does, however the process ends.

use std::fs::File;
use std::io;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

/// How a range is locked.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    Read = libc::F_RDLCK as isize,
    Write = libc::F_WRLCK as isize,
    None = libc::F_UNLCK as isize,
}

/// Bytes of a file, which need not exist.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Range {
    start: libc::off_t,
    len: libc::off_t,
}

impl Range {
    /// The byte that is locked while the record is read and written.
    pub(crate) const RECORD: Self = Self { start: 0, len: 1 };

    /// Byte 0 and all alive bytes.
    pub(crate) const ALL: Self = Self { start: 0, len: 0 };

    /// All alive bytes.
    pub(crate) const ALIVE: Self = Self { start: ALIVE, len: 0 };

    /// All tickets.
    pub(crate) const AWAITED: Self = Self::tickets(0, ALIVE - AWAITED);

    /// The byte that a process locks for reading while it waits for the lock, for others to see; which
    /// one it is says since when.
    pub(crate) fn ticket(number: u64) -> Self {
        let number = (number & TICKETS).cast_signed();
        Self::tickets(number, number + 1)
    }

    const fn tickets(first: libc::off_t, end: libc::off_t) -> Self {
        Self { start: AWAITED + first, len: end - first }
    }

    /// The alive byte of one grant.
    ///
    /// It must be another one for each grant: with one for all, a stopped holder whose lease ran
    /// out would still own it, and its end would make its successor look dead.
    pub(crate) fn alive(seq: u64) -> Self {
        // Unique for 2^61 grants of one name.
        Self { start: ALIVE + (seq & ((1 << 61) - 1)).cast_signed(), len: 1 }
    }
}

const AWAITED: libc::off_t = 1 << 39;
const ALIVE: libc::off_t = 1 << 40;

/// Tickets begin anew after so many grants of one name, which merely makes one round less fair.
const TICKETS: u64 = (1 << 39) - 1;

/// Locks a range, or says that another description has it.
pub(crate) fn try_lock(file: &File, kind: Kind, range: Range) -> io::Result<bool> {
    match fcntl(file, FcntlArg::F_OFD_SETLK(&describe(kind, range))) {
        Ok(_) => Ok(true),
        Err(Errno::EAGAIN | Errno::EACCES) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

/// Unlocks a range, for all copies of the descriptor.
pub(crate) fn unlock(file: &File, range: Range) {
    // Splitting a range can need memory, but these are never split; nothing else can fail.
    let _ = fcntl(file, FcntlArg::F_OFD_SETLK(&describe(Kind::None, range)));
}

/// Whether another description has a lock in a range. Its own are not seen.
pub(crate) fn is_locked(file: &File, range: Range) -> io::Result<bool> {
    Ok(find(file, range)?.is_some())
}

/// The lowest ticket from `first` on and below `end` that another description has.
pub(crate) fn lowest_ticket(file: &File, first: u64, end: u64) -> io::Result<Option<u64>> {
    let (first, mut end) = ((first & TICKETS).cast_signed(), (end & TICKETS).cast_signed());
    let mut lowest = None;
    // Whichever the kernel comes upon first; there may be lower ones.
    while first < end
        && let Some(found) = find(file, Range::tickets(first, end))?
    {
        end = (found.l_start - AWAITED).max(first);
        lowest = Some(end.cast_unsigned());
    }
    Ok(lowest)
}

/// The first number from `least` on that is above every ticket of another description.
pub(crate) fn next_ticket(file: &File, least: u64) -> io::Result<u64> {
    let mut next = (least & TICKETS).cast_signed();
    while next < ALIVE - AWAITED
        && let Some(found) = find(file, Range::tickets(next, ALIVE - AWAITED))?
    {
        next = (found.l_start - AWAITED + found.l_len).max(next + 1);
    }
    Ok(next.cast_unsigned())
}

/// A lock of another description in a range, not always the first one.
fn find(file: &File, range: Range) -> io::Result<Option<libc::flock>> {
    let mut found = describe(Kind::Write, range);
    fcntl(file, FcntlArg::F_OFD_GETLK(&mut found))?;
    Ok((found.l_type != Kind::None as libc::c_short).then_some(found))
}

fn describe(kind: Kind, range: Range) -> libc::flock {
    libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: range.start,
        l_len: range.len,
        l_pid: 0,
    }
}
