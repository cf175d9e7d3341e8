//! What controller and agents say to each other, as one line of JSON each.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tenure_core::{Cause, Error, Kind, Owner, Status};

use crate::spec::Spec;
use crate::subject::Options;

/// Whose agent a process is.
#[derive(Serialize, Deserialize)]
pub(crate) struct Role {
    pub(crate) suite: String,
    pub(crate) spec: Spec,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Command {
    /// Takes a lock and keeps it under its name.
    Acquire {
        name: String,
        options: Options,
        wait: Wait,
    },
    Restore {
        name: String,
        options: Options,
        owner: Owner,
    },
    Renew(String),
    Release(String),
    Drop(String),
    Status(String),
    /// Blocks until the lock is lost.
    Lost(String),
    /// Forks; the child does the deed with its copy, or lives on if that is the deed.
    Fork {
        name: String,
        deed: ForkDeed,
    },
    /// Starts a program that outlives its parent by this time.
    Spawn(Duration),
    /// Increments a counter in a file under the lock, again and again.
    Hammer {
        name: String,
        counter: PathBuf,
        rounds: u32,
    },
    /// Takes the lock as often as it can for some time, and says when.
    Compete {
        name: String,
        time: Duration,
    },
    /// Tries each name once, at a moment, and keeps what it gets.
    Race {
        names: Vec<String>,
        options: Options,
        at: u64,
    },
    ReleaseAll,
    /// Ends without releasing anything.
    Exit,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) enum Wait {
    Not,
    For(Duration),
    Ever,
}

/// What a forked child does with its copy of a held lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ForkDeed {
    Drop,
    /// Ends well if the release was refused.
    Release,
    /// Ends well if a new attempt on the same name is denied.
    TryAgain,
    /// Lives on for some time with its copy.
    Linger,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Answer {
    Done,
    Taken { fence: u64, owner: Owner },
    Refused { kind: String, cause: Option<String>, message: String },
    Seen(Seen),
    Cause(String),
    Fences(Vec<u64>),
    Turns(Vec<Turn>),
    Won(Vec<usize>),
}

/// A time that an agent had a lock, in nanoseconds since boot.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Turn {
    pub(crate) fence: u64,
    pub(crate) since: u64,
    pub(crate) until: u64,
}

/// What an agent believes of its lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Seen {
    Held,
    Unknown,
    Lost(String),
}

impl From<Status> for Seen {
    fn from(status: Status) -> Self {
        match status {
            Status::Held => Self::Held,
            Status::Unknown => Self::Unknown,
            Status::Lost(cause) => Self::Lost(cause_text(cause)),
        }
    }
}

impl From<Error> for Answer {
    fn from(error: Error) -> Self {
        Self::Refused {
            kind: kind_text(error.kind()),
            cause: error.cause().map(cause_text),
            message: error.to_string(),
        }
    }
}

pub(crate) fn kind_text(kind: Kind) -> String {
    format!("{kind:?}")
}

pub(crate) fn cause_text(cause: Cause) -> String {
    format!("{cause:?}")
}
