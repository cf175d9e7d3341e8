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

/// Where the alive bytes end. They go downwards from here, that of a later grant before that of an
/// earlier one, so that byte 0 and those of all later grants are one range.
const FIRST: libc::off_t = 1 << 61;
const LAST: libc::off_t = 1 << 60;

/// Where the tickets begin, and how many there are.
const TICKET: libc::off_t = 1 << 62;
const TICKETS: libc::off_t = 1 << 39;

impl Range {
    /// The byte that is locked while the record is read and written.
    pub(crate) const RECORD: Self = Self { start: 0, len: 1 };

    /// Byte 0 and all others.
    pub(crate) const ALL: Self = Self { start: 0, len: 0 };

    /// All alive bytes.
    pub(crate) const ALIVE: Self = Self { start: LAST, len: FIRST - LAST + 1 };

    /// All tickets.
    pub(crate) const AWAITED: Self = Self::tickets(0, TICKETS);

    /// The byte that a process locks for reading while it waits for the lock, for others to see; which
    /// one it is says since when. Numbers begin anew when nobody waits, and after 2^39, which would merely
    /// make one round less fair.
    pub(crate) fn ticket(number: u64) -> Self {
        let number = wrapped(number);
        Self::tickets(number, number + 1)
    }

    const fn tickets(first: libc::off_t, end: libc::off_t) -> Self {
        Self { start: TICKET + first, len: end - first }
    }

    /// The byte that every session locks for reading beside its alive byte: it has no lease, so
    /// nothing but this tells that it must be waited for when its record is lost.
    pub(crate) const SESSION: Self = Self { start: TICKET - 1, len: 1 };

    /// The alive byte of one grant, by its number.
    ///
    /// It must be another one for each grant: with one for all, a stopped holder whose lease ran
    /// out would still own it, and its end would make its successor look dead.
    pub(crate) fn alive(seq: u64) -> Self {
        Self { start: alive(seq), len: 1 }
    }

    /// The alive byte of a grant with those of the numbers that were left out before it.
    pub(crate) fn alive_between(after: u64, seq: u64) -> Self {
        Self { start: alive(seq), len: alive(after) - alive(seq) }
    }

    /// The alive bytes of all grants after this number, down to byte 1.
    pub(crate) fn alive_after(seq: u64) -> Self {
        Self { start: 1, len: alive(seq) - 1 }
    }

    /// Everything before the alive byte of a grant: byte 0, and the alive bytes of later ones.
    pub(crate) fn before_alive(seq: u64) -> Self {
        Self { start: 0, len: alive(seq) }
    }
}

fn alive(seq: u64) -> libc::off_t {
    FIRST - libc::off_t::try_from(seq).unwrap_or(libc::off_t::MAX).min(FIRST - LAST)
}

fn wrapped(ticket: u64) -> libc::off_t {
    ticket.cast_signed() & (TICKETS - 1)
}

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
    // Cutting a range in two needs memory of the kernel; nothing else can fail.
    let _ = fcntl(file, FcntlArg::F_OFD_SETLK(&describe(Kind::None, range)));
}

/// Whether another description has a lock in a range. Its own are not seen.
pub(crate) fn is_locked(file: &File, range: Range) -> io::Result<bool> {
    Ok(find(file, range)?.is_some())
}

/// The lowest ticket from `first` on and below `end` that another description has.
pub(crate) fn lowest_ticket(file: &File, first: u64, end: u64) -> io::Result<Option<u64>> {
    let (first, mut end) = (wrapped(first), wrapped(end));
    let mut lowest = None;
    // Whichever the kernel comes upon first; there may be lower ones.
    while first < end
        && let Some(found) = find(file, Range::tickets(first, end))?
    {
        end = (found.start - TICKET).max(first);
        lowest = Some(end.cast_unsigned());
    }
    Ok(lowest)
}

/// The first number from `least` on that is above every ticket of another description.
pub(crate) fn next_ticket(file: &File, least: u64) -> io::Result<u64> {
    let mut next = wrapped(least);
    while next < TICKETS
        && let Some(found) = find(file, Range::tickets(next, TICKETS))?
    {
        next = (found.start - TICKET + found.len).max(next + 1);
    }
    Ok(next.cast_unsigned())
}

/// The number of the latest grant whose alive byte another description has.
pub(crate) fn latest_alive(file: &File) -> io::Result<Option<u64>> {
    let (mut before, mut latest) = (Range::ALIVE, None);
    // The kernel tells of any one; what starts before that is later.
    while let Some(found) = find(file, before)? {
        let start = found.start.clamp(LAST, FIRST);
        latest = Some((FIRST - start).cast_unsigned());
        if start == LAST {
            break;
        }
        before.len = start - LAST;
    }
    Ok(latest)
}

/// A range that another description has locked, if there is one in this range.
fn find(file: &File, range: Range) -> io::Result<Option<Range>> {
    let mut found = describe(Kind::Write, range);
    fcntl(file, FcntlArg::F_OFD_GETLK(&mut found))?;
    let locked = found.l_type != Kind::None as libc::c_short;
    Ok(locked.then_some(Range { start: found.l_start, len: found.l_len }))
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
