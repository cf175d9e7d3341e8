//! A row of a table: a configuration, and what it guarantees under each fault.

use std::time::{Duration, Instant};

use tenure_core::Result;
use tenure_servers::{Outcome, Stop};

use crate::faults::Fault;
use crate::rows::{Road, Stage};
use crate::store::Store;
use crate::table::{ROWS, USUAL};

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
    /// What is not as usual.
    pub(crate) except: &'static [(Fault, Class)],
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
        let declared = |cells: &[(Fault, Class)]| -> Vec<Class> {
            cells.iter().filter(|(of, _)| *of == fault).map(|(_, class)| *class).collect()
        };
        let (usual, except) = (declared(USUAL), declared(self.except));
        match (&usual[..], &except[..]) {
            ([usual], []) => Some(*usual),
            // What is no exception is declared in vain.
            ([usual], [class]) if class != usual => Some(*class),
            _ => None,
        }
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

/// How long a machine that does many things may need to open a store.
const PATIENCE: Duration = Duration::from_secs(20);
