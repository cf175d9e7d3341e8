//! Stores that are broken on purpose, each in one place: a table that does not catch them proves nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tenure_core::{
    AnyBackend, Attempt, Backend, Breaking, Claim, Denied, Error, Fence, Granted, Inspect, Lease, Moment,
    Name, Release, Renewal, Result, Site, Watch,
};
use tenure_servers::{Outcome, Stop};

use crate::cell::{self, What};
use crate::faults::Fault;
use crate::row::Row;
use crate::rows::{self, Real};
use crate::store::Store;

/// A broken store, and a cell that catches it.
pub(crate) struct Control {
    pub(crate) row: &'static Row,
    pub(crate) fault: Fault,
    /// As what.
    pub(crate) what: What,
}

impl Control {
    /// A test: the cell finds it. What is a matter of chance may take a few runs.
    pub(crate) fn is_caught(&self) -> Outcome {
        for _ in 0..RUNS {
            let seen = cell::run(self.row, self.fault)?;
            if seen.found.iter().any(|found| found.what == self.what) {
                return Ok(());
            }
        }
        Err(Stop::failed(format!("no {:?} was found in {RUNS} runs", self.what)))
    }
}

/// How often a control is run at most.
const RUNS: u32 = 12;

/// How a store is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// Its leases are said to last four times as long as they do.
    BelievesTooLong,
    /// Renewals are not sent, and never fail.
    NeverRenews,
    /// Leases count from when their answers came.
    CountsFromTheAnswer,
    /// Who lets go lets go for whoever holds it.
    FreesOthers,
    /// A server that is down is one on which somebody holds the lock.
    HidesOutages,
    /// Fences are whole seconds.
    RepeatsFences,
    /// After an outage it never asks again.
    GivesUpForGood,
}

#[derive(Clone)]
struct Broken {
    store: Real,
    how: How,
    gave_up: Arc<AtomicBool>,
}

pub(crate) fn open(place: &str, how: How) -> Result<Store> {
    let store = rows::real(place)?;
    Ok(Store::Blocking(AnyBackend::new(Broken { store, how, gave_up: Arc::default() })))
}

/// What the store that is broken keeps of a grant.
type Grant = <Real as Backend>::Grant;

impl Backend for Broken {
    type Grant = Grant;
    type Handle = Self;

    fn handle(&self) -> Self {
        self.clone()
    }

    fn site(&self) -> &Site {
        self.store.site()
    }

    fn try_acquire(&self, claim: &Claim) -> Result<Attempt<Grant>> {
        if self.gave_up.load(Ordering::SeqCst) {
            return Err(Error::unavailable("it was down once").settled());
        }
        let granted = match self.store.try_acquire(claim) {
            Ok(Attempt::Granted(granted)) => granted,
            Err(error) if error.is_unavailable() && self.how == How::HidesOutages => {
                return Ok(Attempt::Denied(Denied::new()));
            }
            Err(error) if error.is_unavailable() && self.how == How::GivesUpForGood => {
                self.gave_up.store(true, Ordering::SeqCst);
                return Err(error);
            }
            other => return other,
        };
        let lease = claim.term().ttl().map(|ttl| ttl.get()).unwrap_or_default();
        Ok(Attempt::Granted(match self.how {
            How::BelievesTooLong => again(granted, |fence| fence, lease * 4),
            How::CountsFromTheAnswer => granted.since(Moment::now()),
            How::RepeatsFences => again(granted, |fence| Fence::new(fence.get() / 1_000_000), lease),
            _ => granted,
        }))
    }

    fn renew(&self, due: Renewal<'_, Grant>) -> Result<()> {
        if self.how == How::NeverRenews { Ok(()) } else { self.store.renew(due) }
    }

    fn release(&self, end: Release<'_, Grant>) -> Result<()> {
        if self.how == How::FreesOthers {
            return self.free(end.claim());
        }
        self.store.release(end)
    }

    fn abandon(&self, claim: &Claim) {
        if self.how == How::FreesOthers {
            return drop(self.free(claim));
        }
        self.store.abandon(claim);
    }

    fn watch(&self, claim: &Claim) -> Result<Watch> {
        self.store.watch(claim)
    }
}

impl Broken {
    fn free(&self, claim: &Claim) -> Result<()> {
        let name = Name::new(claim.name())?;
        self.store.force_release(&name, Breaking::Now, "it was ours").map(drop)
    }
}

/// The same grant with another fence and another lifetime.
fn again<G>(granted: Granted<G>, fence: impl Fn(Fence) -> Fence, lease: Duration) -> Granted<G> {
    let (fence, mut kept) = (fence(granted.fence()), None);
    granted.map(|grant| kept = Some(grant));
    Granted::new(kept.expect("a grant is kept"), fence, Lease::For(lease))
}

/// Stores that are broken so, each with the cell that catches it.
macro_rules! controls {
    ($($name:ident $how:ident $fault:ident $what:expr;)* $(=> $row:expr, $also:ident, $as:expr;)*) => {
        $(const $name: &$crate::row::Row = &$crate::row::Row {
            name: stringify!($how),
            about: "",
            start: $crate::rows::memory,
            open: |place| $crate::broken::open(place, $crate::broken::How::$how),
            resumes: std::time::Duration::from_secs(3),
            multiplexed: false,
            except: &[],
        };)*
        pub(crate) const CONTROLS: &[$crate::broken::Control] = &[
            $($crate::broken::Control { row: $name, fault: $crate::faults::Fault::$fault, what: $what },)*
            // And configurations that lack what a guarantee needs.
            $($crate::broken::Control { row: $row, fault: $crate::faults::Fault::$also, what: $as },)*
        ];
    };
}

pub(crate) use controls;
