//! Stores that are broken on purpose, each in one place: a table that does not catch them proves nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tenure_conformance::history::Breach;
use tenure_core::{
    AnyBackend, Attempt, Backend, Breaking, Claim, Denied, Error, Fence, Granted, Inspect, Lease, Moment,
    Name, Release, Renewal, Result, Site, Watch,
};
use tenure_redis::Redis;
use tenure_servers::{Outcome, Stop};

use crate::cell::{self, What};
use crate::faults::Fault;
use crate::rows;
use crate::store::Store;
use crate::table::Row;

/// A broken store, and a cell that catches it.
pub(crate) struct Control {
    pub(crate) row: &'static Row,
    pub(crate) fault: Fault,
    /// As what.
    what: What,
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
enum How {
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
    store: Redis,
    how: How,
    gave_up: Arc<AtomicBool>,
}

fn open(place: &str, how: How) -> Result<Store> {
    let store = rows::builder(place)?.connect()?;
    Ok(Store::Blocking(AnyBackend::new(Broken { store, how, gave_up: Arc::default() })))
}

impl Backend for Broken {
    type Grant = ();
    type Handle = Self;

    fn handle(&self) -> Self {
        self.clone()
    }

    fn site(&self) -> &Site {
        self.store.site()
    }

    fn try_acquire(&self, claim: &Claim) -> Result<Attempt<()>> {
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
            How::BelievesTooLong => Granted::new((), granted.fence(), Lease::For(lease * 4)),
            How::CountsFromTheAnswer => granted.since(Moment::now()),
            How::RepeatsFences => {
                Granted::new((), Fence::new(granted.fence().get() / 1_000_000), Lease::For(lease))
            }
            _ => granted,
        }))
    }

    fn renew(&self, due: Renewal<'_, ()>) -> Result<()> {
        if self.how == How::NeverRenews { Ok(()) } else { self.store.renew(due) }
    }

    fn release(&self, end: Release<'_, ()>) -> Result<()> {
        if self.how == How::FreesOthers {
            let name = Name::new(end.claim().name())?;
            return self.store.force_release(&name, Breaking::Now, "it was ours").map(drop);
        }
        self.store.release(end)
    }

    fn abandon(&self, claim: &Claim) {
        if self.how == How::FreesOthers {
            return drop(self.release(Release::new(claim, &(), None)));
        }
        self.store.abandon(claim);
    }

    fn watch(&self, claim: &Claim) -> Result<Watch> {
        self.store.watch(claim)
    }
}

macro_rules! controls {
    ($($name:ident $how:ident $fault:ident $what:expr;)*) => {
        $(const $name: &Row = &Row {
            name: stringify!($how),
            about: "",
            start: rows::memory,
            open: |place| open(place, How::$how),
            resumes: std::time::Duration::from_secs(3),
            multiplexed: false,
            cells: &[],
        };)*
        pub(crate) const CONTROLS: &[Control] = &[
            $(Control { row: $name, fault: Fault::$fault, what: $what },)*
        ];
    };
}

controls! {
    TOO_LONG BelievesTooLong ConnectionsKilled What::Breach(Breach::Overlap);
    NEVER NeverRenews ScriptsForgotten What::Breach(Breach::Overlap);
    FROM_THE_ANSWER CountsFromTheAnswer Delayed What::Breach(Breach::Overlap);
    FREES FreesOthers AnswersDropped What::Breach(Breach::Overlap);
    HIDES HidesOutages ServerStopped What::Masked;
    REPEATS RepeatsFences ScriptsForgotten What::Breach(Breach::FenceWentBack);
    GIVES_UP GivesUpForGood MemoryFull What::Stalled;
}
