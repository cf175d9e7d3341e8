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
    first: Option<First>,
}

/// The first in the queue.
#[derive(Clone, Copy, Debug)]
struct First {
    number: u64,
    /// The last grant that was seen, and how many were seen since it is the first.
    granted: u64,
    missed: u32,
}

/// How many grants are a turn: enough that most of them go from waiter to waiter within a process.
const TURN: u32 = 16;

/// How many grants a process may let pass in its turn before those behind it wait for it no more:
/// somewhat more than another takes in a row.
const MISSED: u32 = 40;

impl Queue {
    /// Stands at the end as long as the ticket lives; `open` opens the record once more. Without a
    /// ticket, as when descriptors are short, the process merely waits less fairly.
    pub(crate) fn stand(&self, open: impl FnOnce() -> Option<File>) -> Option<Arc<Ticket>> {
        if let Some(ticket) = self.ticket() {
            return Some(ticket);
        }
        let file = open()?;
        let number = end_of_queue(&file, 0)?.into();
        let ticket = Arc::new(Ticket { file, number, served: AtomicU32::new(0) });
        *self.slot() = Arc::downgrade(&ticket);
        Some(ticket)
    }

    /// This process was granted the lock. After its turn it goes to the end. Called inside the record, so
    /// by one thread at a time.
    pub(crate) fn served(&self) {
        let Some(ticket) = self.ticket() else { return };
        if ticket.served.fetch_add(1, Ordering::Relaxed) + 1 < TURN {
            return;
        }
        ticket.served.store(0, Ordering::Relaxed);
        let before = ticket.number.load(Ordering::Relaxed);
        if let Some(number) = end_of_queue(&ticket.file, before + 1) {
            ticket.number.store(number, Ordering::Relaxed);
            ofd::unlock(&ticket.file, Range::ticket(before));
        }
    }

    /// The number of the process that has waited longest, if that is another one and it comes when it
    /// is its turn. `granted` is the number of the last grant.
    pub(crate) fn behind(&self, granted: u64) -> Option<u64> {
        let ticket = self.ticket()?;
        let lowest = |from, end| ofd::lowest_ticket(&ticket.file, from, end).unwrap_or(None);
        let mut others = self.others();
        if others.passed > 0 && lowest(0, others.passed).is_none() {
            // They are gone, and with an empty queue the numbers begin anew.
            others.passed = 0;
        }
        loop {
            let number = lowest(others.passed, ticket.number.load(Ordering::Relaxed))?;
            let first = match others.first.filter(|first| first.number == number) {
                Some(first) if first.granted == granted => first,
                Some(first) => First { granted, missed: first.missed + 1, ..first },
                None => First { number, granted, missed: 0 },
            };
            others.first = Some(first);
            if first.missed < MISSED {
                return Some(number);
            }
            others.passed = number + 1;
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
