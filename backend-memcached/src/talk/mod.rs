//! What is said to a server in turn, until the answer to one question is known. No I/O, no clock: whoever
//! sends the requests passes the answers in, a thread or a task.

mod abandon;
mod acquire;
mod force;
mod look;
mod release;
mod renew;

pub(crate) use abandon::Abandon;
pub(crate) use acquire::Acquire;
pub(crate) use force::Force;
pub(crate) use look::{Look, Read};
pub(crate) use release::End;
pub(crate) use renew::Renew;

use std::sync::atomic::{AtomicU64, Ordering};

use tenure_core::{Error, Fence, Moment, Result};

use crate::dialect::{Now, Place};
use crate::record::{Record, life};
use crate::stats::Stats;
use crate::wire::{Answers, Request, Said, Store};

/// A question, and how it goes on.
pub(crate) trait Talk {
    type End;

    /// Which server it is for.
    fn server(&self) -> usize;

    /// What to do next, after what was heard.
    fn turn(&mut self, heard: Heard, now: Now) -> Turn<Self::End>;
}

/// What was heard.
pub(crate) enum Heard {
    /// Nothing yet.
    Nothing,
    Answers(Answers),
    /// What was to be asked could not be said: the numbers in it are too old.
    Stale {
        /// Whether it may have been said before, without an answer.
        resent: bool,
    },
    Stats(Stats),
}

impl From<Said> for Heard {
    fn from(said: Said) -> Self {
        match said {
            Said::Answered(answers) => Self::Answers(answers),
            Said::Stale { resent } => Self::Stale { resent },
        }
    }
}

/// What to do.
pub(crate) enum Turn<T> {
    /// Send it.
    Ask(Request),
    /// Ask for the server's `stats`.
    Stats,
    /// It is over.
    End(Result<T>),
}

/// How often somebody else may come between before it is somebody else's turn to wonder.
const ROUNDS: u32 = 12;

/// What a store keeps of a grant.
#[derive(Debug)]
pub struct Grant {
    /// The number of its latest renewal, by which it is known.
    cas: AtomicU64,
    /// When a number of it was last read, in nanoseconds since boot; whichever it was, from the same life of
    /// the server.
    read: AtomicU64,
    /// After this moment, in nanoseconds since boot, nobody may say that it goes on.
    ends: AtomicU64,
    base: u64,
    fence: Fence,
    since: u64,
}

impl Grant {
    fn new(cas: u64, read: Moment, ends: Moment, base: u64, fence: Fence, since: u64) -> Self {
        Self {
            cas: cas.into(),
            read: read.as_nanos().into(),
            ends: ends.as_nanos().into(),
            base,
            fence,
            since,
        }
    }

    fn cas(&self) -> u64 {
        self.cas.load(Ordering::Acquire)
    }

    fn read(&self) -> Moment {
        Moment::from_nanos(self.read.load(Ordering::Acquire))
    }

    fn is_now(&self, cas: u64, read: Moment) {
        self.cas.store(cas, Ordering::Release);
        self.read.fetch_max(read.as_nanos(), Ordering::AcqRel);
    }

    fn ends_at(&self, moment: Moment) {
        self.ends.store(moment.as_nanos(), Ordering::Release);
    }

    fn is_over(&self, now: Moment) -> bool {
        now.as_nanos() >= self.ends.load(Ordering::Acquire)
    }
}

/// A value to be stored for a lock.
fn store<'a>(place: &'a Place, flags: u32, record: &Record, value: &'a [u8]) -> Store<'a> {
    let life = life(record.ttl.unwrap_or_default());
    Store { key: place.key.as_bytes(), flags, life, value }
}

/// What there is to say when the server would not take a value.
fn no_memory() -> Error {
    Error::unavailable(
        "the server has no memory for the lock; give it more (-m), or give locks a server of their own",
    )
    .settled()
}

/// Too much went on.
fn restless() -> Error {
    Error::unavailable("the lock changed hands again and again while it was asked for")
}
