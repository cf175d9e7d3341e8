//! The place of this process among the processes that wait for one lock.

use std::fs::File;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::ofd::{self, Kind, Range};

/// What a process knows of the queue that processes stand in for one lock.
///
/// Each that waits has a [`Ticket`]; whoever has the lowest has its turn. Nobody is kept out: a process
/// merely does not wake its waiters while it is another's turn.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    /// While this process waits.
    ticket: Mutex<Weak<Ticket>>,
    others: Mutex<Others>,
}

/// A byte that is locked for reading while this process waits, as others see it: its number is one above
/// those of all who waited when it began to, or when its last turn ended.
///
/// It stands on a description of its own, so that it ends with the process, and that a look at the
/// others' does not see it.
#[derive(Debug)]
pub(crate) struct Ticket {
    file: File,
    number: AtomicU64,
    /// How often the process was granted the lock since.
    served: AtomicU32,
}

/// What was seen of the others.
#[derive(Debug, Default)]
struct Others {
    /// Who has a number below this did not come when it was its turn.
    passed: u64,
    /// The first in the queue, and the last grant when it was first seen there.
    first: Option<(u64, u64)>,
}

/// How many grants are a turn: enough that most of them go from waiter to waiter within a process.
const TURN: u32 = 16;

/// How many grants a process may let pass in its turn before those behind it wait for it no more:
/// somewhat more than another takes in a row.
const MISSED: u64 = 40;

impl Queue {
    /// Stands at the end as long as the ticket lives; `open` opens the record once more, and `granted`
    /// is the number of the last grant. Without a ticket, as when descriptors are short, the process
    /// merely waits less fairly.
    pub(crate) fn stand(&self, granted: u64, open: impl FnOnce() -> Option<File>) -> Option<Arc<Ticket>> {
        if let Some(ticket) = self.ticket() {
            return Some(ticket);
        }
        let file = open()?;
        let number = end_of_queue(&file, granted)?.into();
        let ticket = Arc::new(Ticket { file, number, served: AtomicU32::new(0) });
        *self.slot() = Arc::downgrade(&ticket);
        Some(ticket)
    }

    /// This process was granted the lock, by the grant of this number. After its turn it goes to the end.
    /// Called inside the record, so by one thread at a time.
    pub(crate) fn served(&self, granted: u64) {
        let Some(ticket) = self.ticket() else { return };
        if ticket.served.fetch_add(1, Ordering::Relaxed) + 1 < TURN {
            return;
        }
        ticket.served.store(0, Ordering::Relaxed);
        let before = ticket.number.load(Ordering::Relaxed);
        if let Some(number) = end_of_queue(&ticket.file, granted.max(before + 1)) {
            ticket.number.store(number, Ordering::Relaxed);
            ofd::unlock(&ticket.file, Range::ticket(before));
        }
    }

    /// The number of the process that has waited longest, if that is another one and it comes when it
    /// is its turn. `granted` is the number of the last grant.
    pub(crate) fn behind(&self, granted: u64) -> Option<u64> {
        let ticket = self.ticket()?;
        let mut others = self.others();
        loop {
            let number = ticket.number.load(Ordering::Relaxed);
            let first = ofd::lowest_ticket(&ticket.file, others.passed, number).unwrap_or(None)?;
            let since = others.first.filter(|(known, _)| *known == first).map_or(granted, |(_, since)| since);
            // A damaged record may say anything.
            if granted.saturating_sub(since) < MISSED {
                others.first = Some((first, since));
                return Some(first);
            }
            others.passed = first + 1;
        }
    }

    /// Waits no more for the one with this number: it is stopped, or its host overloaded.
    pub(crate) fn pass(&self, number: u64) {
        self.others().passed = number + 1;
    }

    fn ticket(&self) -> Option<Arc<Ticket>> {
        self.slot().upgrade()
    }

    fn slot(&self) -> MutexGuard<'_, Weak<Ticket>> {
        self.ticket.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn others(&self) -> MutexGuard<'_, Others> {
        self.others.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes the ticket after all others', and from `least` on. Two that do so at once may take the same,
/// and come at the same time.
fn end_of_queue(file: &File, least: u64) -> Option<u64> {
    let number = ofd::next_ticket(file, least).ok()?;
    ofd::try_lock(file, Kind::Read, Range::ticket(number)).ok()?;
    Some(number)
}
