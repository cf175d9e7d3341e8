//! What happens to locks.

use std::panic::Location;
use std::time::Duration;

use super::HeldFor;
use crate::{Cause, Denied, Error, Fence, Result};

/// Something that happens to a lock, or to an acquisition of it.
#[derive(Clone, Copy)]
#[cfg_attr(
    not(all(feature = "tracing", feature = "metrics")),
    allow(dead_code, reason = "not all is told to both, and nothing to nobody")
)]
pub(crate) enum Event<'e> {
    /// The acquisition ends with the lock.
    Granted { fence: Fence },
    /// It ends with an error.
    Refused { error: &'e Error },
    /// It ends without an answer.
    Abandoned,
    /// The lock is taken, or others wait for it.
    Contended(Denied),
    /// The store grants nothing for now.
    Quarantined { remaining: Option<Duration> },
    /// The store did not answer a waiter, which will ask again.
    Unanswered { error: &'e Error },
    /// This very process holds the lock that it waits for.
    WaitsForItself { held_at: &'static Location<'static> },
    /// The store answered to a renewal, or did not.
    Renewal { fence: Fence, remaining: Option<Duration>, answer: &'e Result<()> },
    /// The lock is lost.
    Lost { fence: Fence, held: HeldFor, cause: Cause },
    /// The store answered to a release, or did not.
    Release { fence: Fence, held: HeldFor, answer: &'e Result<()> },
    /// The holder is gone and the lock stays taken.
    Left { fence: Fence, held: HeldFor },
}
