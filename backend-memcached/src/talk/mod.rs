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
use std::sync::{Mutex, PoisonError};

use tenure_core::{Error, Fence, Moment, Result};

use crate::dialect::{Now, Place};
use crate::record::{Record, life};
use crate::stats::Stats;
use crate::wire::{Answers, Request, Store, Version};

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
    Stats(Stats),
    /// The request was not sent: the versions in it were seen on connections that are gone, and may mean
    /// something else by now.
    Stale {
        /// Whether it may have been carried out on one of those.
        resent: bool,
    },
}

impl From<Answers> for Heard {
    fn from(answers: Answers) -> Self {
        match answers.stale {
            true => Self::Stale { resent: answers.resent },
            false => Self::Answers(answers),
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
    /// Its latest renewal, by which it is known.
    version: Mutex<Version>,
    /// After this moment, in nanoseconds since boot, nobody may say that it goes on.
    ends: AtomicU64,
    base: u64,
    fence: Fence,
    since: u64,
}

impl Grant {
    fn new(version: Version, ends: Moment, base: u64, fence: Fence, since: u64) -> Self {
        Self { version: version.into(), ends: ends.as_nanos().into(), base, fence, since }
    }

    fn version(&self) -> Version {
        *self.version.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_now(&self, version: Version) {
        *self.version.lock().unwrap_or_else(PoisonError::into_inner) = version;
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
