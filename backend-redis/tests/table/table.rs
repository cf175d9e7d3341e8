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
const FORGETFUL: &str = "it has no data that would outlive it";
const ADDRESSES: &str =
    "clients are told the servers' own addresses, past a proxy; the connections are those of one server";
const PLACE: &str =
    "a node without its data has lost its place in the cluster as well; see the promotion of a replica";
const FAIL_OVER: Duration = Duration::from_secs(12);
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
            (KilledWithData, NotApplicable(FORGETFUL)),
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
        name: "fair",
        about: "`fair()`, on one server with appendonly yes and appendfsync always",
        start: rows::disk,
        open: rows::fair,
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
        name: "fair-async",
        about: "the asynchronous store with `fair()`, on the same kind of server",
        start: rows::disk,
        open: rows::fair_polled,
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
        name: "guard",
        about: "`restart_guard()`, on one server that keeps nothing on disk",
        start: rows::memory,
        open: rows::guarded,
        resumes: RESUMES,
        multiplexed: false,
        cells: &[
            (KilledWithData, NotApplicable(FORGETFUL)),
            (KilledWithoutData, Exclusive),
            (ServerStopped, Exclusive),
            (HolderStopped, Exclusive),
            (ConnectionsKilled, Exclusive),
            (ScriptsForgotten, Exclusive),
            (KeysFlushed, Exclusive),
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
        name: "acknowledged",
        about: "`replicas(1, ..)`, on a master with a replica that is promoted by hand",
        start: rows::replicated,
        open: rows::acknowledged,
        resumes: RESUMES,
        multiplexed: false,
        cells: &[
            (KilledWithData, NotApplicable(FORGETFUL)),
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
    Row {
        name: "cluster",
        about: "a cluster of three masters and three replicas, all with appendonly yes and appendfsync always",
        start: rows::cluster,
        open: rows::blocking,
        resumes: FAIL_OVER,
        multiplexed: false,
        cells: &[
            (KilledWithData, FenceOnly),
            (KilledWithoutData, NotApplicable(PLACE)),
            (ServerStopped, FenceOnly),
            (HolderStopped, Exclusive),
            (ConnectionsKilled, Exclusive),
            (ScriptsForgotten, Exclusive),
            (KeysFlushed, FenceOnly),
            (MemoryFull, Exclusive),
            (KeysEvicted, FenceOnly),
            (ReplicaPromoted, FenceOnly),
            (RequestsDropped, NotApplicable(ADDRESSES)),
            (AnswersDropped, NotApplicable(ADDRESSES)),
            (Delayed, NotApplicable(ADDRESSES)),
            (Duplicated, NotApplicable(ADDRESSES)),
            (Reset, NotApplicable(ADDRESSES)),
        ],
    },
    Row {
        name: "cluster-async",
        about: "the asynchronous store, on the same",
        start: rows::cluster,
        open: rows::polled,
        resumes: FAIL_OVER,
        multiplexed: true,
        cells: &[
            (KilledWithData, FenceOnly),
            (KilledWithoutData, NotApplicable(PLACE)),
            (ServerStopped, FenceOnly),
            (HolderStopped, Exclusive),
            (ConnectionsKilled, Exclusive),
            (ScriptsForgotten, Exclusive),
            (KeysFlushed, FenceOnly),
            (MemoryFull, Exclusive),
            (KeysEvicted, FenceOnly),
            (ReplicaPromoted, FenceOnly),
            (RequestsDropped, NotApplicable(ADDRESSES)),
            (AnswersDropped, NotApplicable(ADDRESSES)),
            (Delayed, NotApplicable(ADDRESSES)),
            (Duplicated, NotApplicable(ADDRESSES)),
            (Reset, NotApplicable(ADDRESSES)),
        ],
    },
    Row {
        name: "sentinel",
        about: "a master that sentinels name, and a replica, both with appendonly yes and appendfsync always",
        start: rows::sentinels,
        open: rows::blocking,
        resumes: FAIL_OVER,
        multiplexed: false,
        cells: &[
            (KilledWithData, FenceOnly),
            (KilledWithoutData, FenceOnly),
            (ServerStopped, FenceOnly),
            (HolderStopped, Exclusive),
            (ConnectionsKilled, Exclusive),
            (ScriptsForgotten, Exclusive),
            (KeysFlushed, FenceOnly),
            (MemoryFull, Exclusive),
            (KeysEvicted, FenceOnly),
            (ReplicaPromoted, FenceOnly),
            (RequestsDropped, NotApplicable(ADDRESSES)),
            (AnswersDropped, NotApplicable(ADDRESSES)),
            (Delayed, NotApplicable(ADDRESSES)),
            (Duplicated, NotApplicable(ADDRESSES)),
            (Reset, NotApplicable(ADDRESSES)),
        ],
    },
    Row {
        name: "sentinel-async",
        about: "the asynchronous store, on the same",
        start: rows::sentinels,
        open: rows::polled,
        resumes: FAIL_OVER,
        multiplexed: true,
        cells: &[
            (KilledWithData, FenceOnly),
            (KilledWithoutData, FenceOnly),
            (ServerStopped, FenceOnly),
            (HolderStopped, Exclusive),
            (ConnectionsKilled, Exclusive),
            (ScriptsForgotten, Exclusive),
            (KeysFlushed, FenceOnly),
            (MemoryFull, Exclusive),
            (KeysEvicted, FenceOnly),
            (ReplicaPromoted, FenceOnly),
            (RequestsDropped, NotApplicable(ADDRESSES)),
            (AnswersDropped, NotApplicable(ADDRESSES)),
            (Delayed, NotApplicable(ADDRESSES)),
            (Duplicated, NotApplicable(ADDRESSES)),
            (Reset, NotApplicable(ADDRESSES)),
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
            (KilledWithData, NotApplicable(FORGETFUL)),
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
    Row {
        name: "quorum",
        about: "a majority of three servers that keep nothing on disk, one of which has the fault; on the road \
                to them it is all three",
        start: rows::majority,
        open: rows::quorum,
        resumes: RESUMES,
        multiplexed: true,
        cells: &[
            (KilledWithData, NotApplicable(FORGETFUL)),
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
        name: "quorum-guard",
        about: "the same with `restart_guard()`, where two of the three have the fault",
        start: rows::majority_failing,
        open: rows::quorum_guarded,
        resumes: RESUMES,
        multiplexed: true,
        cells: &[
            (KilledWithData, NotApplicable(FORGETFUL)),
            (KilledWithoutData, Exclusive),
            (ServerStopped, Exclusive),
            (HolderStopped, Exclusive),
            (ConnectionsKilled, Exclusive),
            (ScriptsForgotten, Exclusive),
            (KeysFlushed, Exclusive),
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
];
