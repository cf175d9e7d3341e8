//! The table: what each configuration guarantees under each fault.

use std::time::{Duration, Instant};

use tenure_core::Result;
use tenure_servers::{Outcome, Stop};

use crate::faults::Fault::{self, *};
use crate::rows::{self, Road, Stage};
use crate::store::Store;

/// What holds in a cell, whatever happens. In all of them fences never go back, nothing stale passes a
/// gate that compares them, a server that is down is never taken for one on which somebody holds the
/// lock, and work goes on when the fault is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// No two beliefs overlap.
    Exclusive,
    /// Two may believe at once; then only fences keep the first one's writes out.
    FenceOnly,
    /// There is no such thing, for this reason.
    NotApplicable(&'static str),
}

use Class::{Exclusive, FenceOnly, NotApplicable};

/// A configuration, and its cells.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    /// Said in the page.
    pub(crate) about: &'static str,
    /// Starts what it consists of.
    pub(crate) start: fn(Road) -> Outcome<Box<dyn Stage>>,
    /// Opens a store at a place that [`Stage::place`] told, in whatever process.
    pub(crate) open: fn(&str) -> Result<Store>,
    /// After so much time everybody has had the lock again.
    pub(crate) resumes: Duration,
    /// Whether a connection carries several requests at once.
    pub(crate) multiplexed: bool,
    pub(crate) cells: &'static [(Fault, Class)],
}

impl Row {
    /// Opens a store. A machine that does many things at once may need more than one try.
    pub(crate) fn opened(&self, place: &str) -> Result<Store> {
        let began = Instant::now();
        loop {
            match (self.open)(place) {
                Err(error) if error.is_unavailable() && began.elapsed() < PATIENCE => {}
                opened => return opened,
            }
        }
    }

    /// What is declared; nothing if it is not, or in two ways.
    pub(crate) fn class(&self, fault: Fault) -> Option<Class> {
        let mut declared = self.cells.iter().filter(|(of, _)| *of == fault).map(|(_, class)| *class);
        declared.next().filter(|_| declared.next().is_none())
    }
}

/// A test: each row has each cell once.
pub(crate) fn is_complete() -> Outcome {
    let missing = |row: &&Row| Fault::ALL.iter().any(|fault| row.class(*fault).is_none());
    match ROWS.iter().find(missing) {
        None => Ok(()),
        Some(row) => Err(Stop::failed(format!("{} lacks a cell, or declares one in two ways", row.name))),
    }
}

const ALONE: &str = "there is no replica";
const PATIENCE: Duration = Duration::from_secs(20);
const RESUMES: Duration = Duration::from_secs(6);

pub(crate) const ROWS: &[Row] = &[
    Row {
        name: "memory",
        about: "one server that keeps nothing on disk",
        start: rows::memory,
        open: rows::blocking,
        resumes: RESUMES,
        multiplexed: false,
        cells: &[
            (KilledWithData, NotApplicable("it has no data that would outlive it")),
            (KilledWithoutData, FenceOnly),
            (ServerStopped, Exclusive),
            (HolderStopped, Exclusive),
            (ConnectionsKilled, Exclusive),
            (ScriptsForgotten, Exclusive),
            (KeysFlushed, FenceOnly),
            (MemoryFull, Exclusive),
            (KeysEvicted, FenceOnly),
            (ReplicaPromoted, NotApplicable(ALONE)),
            (RequestsDropped, Exclusive),
            (AnswersDropped, Exclusive),
            (Delayed, Exclusive),
            (Duplicated, Exclusive),
            (Reset, Exclusive),
        ],
    },
    Row {
        name: "disk",
        about: "one server with appendonly yes and appendfsync always",
        start: rows::disk,
        open: rows::blocking,
        resumes: RESUMES,
        multiplexed: false,
        cells: &[
            (KilledWithData, Exclusive),
            (KilledWithoutData, FenceOnly),
            (ServerStopped, Exclusive),
            (HolderStopped, Exclusive),
            (ConnectionsKilled, Exclusive),
            (ScriptsForgotten, Exclusive),
            (KeysFlushed, FenceOnly),
            (MemoryFull, Exclusive),
            (KeysEvicted, FenceOnly),
            (ReplicaPromoted, NotApplicable(ALONE)),
            (RequestsDropped, Exclusive),
            (AnswersDropped, Exclusive),
            (Delayed, Exclusive),
            (Duplicated, Exclusive),
            (Reset, Exclusive),
        ],
    },
    Row {
        name: "async",
        about: "the asynchronous store, on one server with appendonly yes and appendfsync always",
        start: rows::disk,
        open: rows::polled,
        resumes: RESUMES,
        multiplexed: true,
        cells: &[
            (KilledWithData, Exclusive),
            (KilledWithoutData, FenceOnly),
            (ServerStopped, Exclusive),
            (HolderStopped, Exclusive),
            (ConnectionsKilled, Exclusive),
            (ScriptsForgotten, Exclusive),
            (KeysFlushed, FenceOnly),
            (MemoryFull, Exclusive),
            (KeysEvicted, FenceOnly),
            (ReplicaPromoted, NotApplicable(ALONE)),
            (RequestsDropped, Exclusive),
            (AnswersDropped, Exclusive),
            (Delayed, Exclusive),
            (Duplicated, Exclusive),
            (Reset, Exclusive),
        ],
    },
    Row {
        name: "replicated",
        about: "a master with a replica that is promoted by hand, both without data on disk",
        start: rows::replicated,
        open: rows::blocking,
        resumes: RESUMES,
        multiplexed: false,
        cells: &[
            (KilledWithData, NotApplicable("it has no data that would outlive it")),
            (KilledWithoutData, FenceOnly),
            (ServerStopped, Exclusive),
            (HolderStopped, Exclusive),
            (ConnectionsKilled, Exclusive),
            (ScriptsForgotten, Exclusive),
            (KeysFlushed, FenceOnly),
            (MemoryFull, Exclusive),
            (KeysEvicted, FenceOnly),
            (ReplicaPromoted, FenceOnly),
            (RequestsDropped, Exclusive),
            (AnswersDropped, Exclusive),
            (Delayed, Exclusive),
            (Duplicated, Exclusive),
            (Reset, Exclusive),
        ],
    },
];
