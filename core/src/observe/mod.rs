//! What can be seen of locks from outside: spans and events of `tracing`, and what is counted through
//! `metrics`.
//!
//! Both are features of the same name, off by default. Off, nothing of this is compiled in: no branch,
//! no look at a clock, no field. On, a program installs a subscriber or a recorder of its choice, before
//! it opens its stores. Blocking and asynchronous locks tell the same.
//!
//! Each member of a [`LockAll`](crate::LockAll) tells for itself. A set that steps back, because a member
//! is not free, tells that too: members that timed out or were contended, others that were granted and
//! released again.
//!
//! # Spans and events
//!
//! All have the target `tenure`, so that `tenure=debug` shows what happens to every lock, and `tenure=info`
//! that a store or a lock is in trouble. A `warn` may be the only sign of it: of a renewal or a release
//! that goes unanswered, only who asked for it by a call gets an error as well. A lock that is
//! taken and released, waited for or not had in time stays below `info`.
//!
//! | event | level | fields | when |
//! |---|---|---|---|
//! | `lock granted` | debug | `store` `lock` `fence` `waited` `attempts` | it is held now |
//! | `lock contended` | debug | `store` `lock` `holder` `remaining` | somebody has it or stands before us; once for each acquisition |
//! | `lock timed out` | debug | `store` `lock` `waited` `attempts` | not free in the caller's time |
//! | `lock unavailable` | info | `store` `lock` `waited` `attempts` `error` | the store did not answer, and the caller gets the error |
//! | `lock quarantined` | info | `store` `lock` `remaining` | the store grants nothing for now; a waiter waits it out; once for each acquisition |
//! | `lock refused` | debug | `store` `lock` `error` | any other error of an acquisition |
//! | `acquisition abandoned` | debug | `store` `lock` `waited` `attempts` | its future was dropped, or the store panicked |
//! | `attempt unanswered` | debug | `store` `lock` `error` | the store did not answer a waiter, which will ask again |
//! | `waiting for a lock that this very process holds` | warn | `store` `lock` `held_at` `waiting_at` | it may wait for itself |
//! | `lock renewed` | trace | `store` `lock` `fence` `remaining` | the store has confirmed it |
//! | `renewal unanswered` | warn | `store` `lock` `fence` `remaining` `error` | it is tried again until `remaining` is over |
//! | `lock lost` | warn | `store` `lock` `fence` `held` `cause` | before it was released |
//! | `lock released` | debug | `store` `lock` `fence` `held` | the store has confirmed it |
//! | `release unanswered` | warn | `store` `lock` `fence` `held` `error` | it is tried again, until the lease ends |
//! | `lock left` | debug | `store` `lock` `fence` `held` | dropped unreleased, as [`release_on_drop(false)`](crate::Lock::release_on_drop) asks |
//! | `lock force-released` | warn | `store` `lock` `fence` `breaking` `reason` | this process took it from its holder |
//!
//! | span | level | fields | from, to |
//! |---|---|---|---|
//! | `acquire` | debug | `store` `lock` `place` `outcome` `fence` | the call, or the first poll, to its answer; in async code it is entered only while polled |
//!
//! There is no span for the time of holding. A held lock is a value that may outlive every span that was
//! open when it was granted, and would keep them open; `held` tells the time instead.
//!
//! | field | what it is |
//! |---|---|
//! | `store` | the store's label: its URL without a password |
//! | `lock` | the name without the settings' prefix, cut after 200 characters |
//! | `place` | where the program asks: file, line, column |
//! | `fence` | the number of the grant |
//! | `holder` | the fence of the grant in the way, where the store told |
//! | `waited` | seconds since the acquisition began |
//! | `attempts` | how often the store was asked; 0 for one that only stood in line |
//! | `remaining` | seconds until it ends if nothing is renewed; absent if there is no lease or nobody told |
//! | `held` | seconds from the grant to its end, without the release itself |
//! | `cause` | why it was lost: `expired`, `superseded`, `forced`, `released` |
//! | `outcome` | what came of the acquisition, as in the metrics below |
//! | `error` | the text of the error, without its sources |
//! | `held_at`, `waiting_at` | where the program got the lock, and where it asks for it again |
//! | `breaking` | `safe` if the name stays closed until the holder knows, `now` if not |
//! | `reason` | what the operator gave as the reason |
//!
//! The owner token is never shown: whoever knows it can release the lock.
//!
//! # Metrics
//!
//! | metric | type | unit | labels | what it counts |
//! |---|---|---|---|---|
//! | `tenure_acquisitions_total` | counter | count | `store` `outcome` | acquisitions that have come to an end |
//! | `tenure_wait_seconds` | histogram | seconds | `store` `outcome` | how long each of them took, from the call, or the first poll |
//! | `tenure_contentions_total` | counter | count | `store` | acquisitions that found the lock taken, or others waiting |
//! | `tenure_waiting` | gauge | count | `store` | acquisitions that wait now |
//! | `tenure_held` | gauge | count | `store` | locks that are held now: granted, neither let go nor known to be lost |
//! | `tenure_hold_seconds` | histogram | seconds | `store` | how long each was held, without the release itself |
//! | `tenure_renewals_total` | counter | count | `store` `outcome` | requests to renew, by their answer |
//! | `tenure_losses_total` | counter | count | `store` `cause` | locks that were lost before they were released |
//! | `tenure_releases_total` | counter | count | `store` `outcome` | requests to release, by their answer |
//! | `tenure_force_releases_total` | counter | count | `store` | locks that this process took from their holders |
//!
//! | label | values |
//! |---|---|
//! | `store` | the store's label: its URL without a password |
//! | `outcome` of an acquisition | `granted` `contended` `timed_out` `unavailable` `quarantined` `abandoned` `refused` |
//! | `outcome` of a renewal | `renewed` `unanswered` `lost` |
//! | `outcome` of a release | `released` `unanswered` `lost` |
//! | `cause` of a loss | `expired` `superseded` `forced` `released` |
//!
//! No label is a lock's name. Names are often made of records (`shop.order:pk:7`), and every value of a
//! label is a time series that a recorder keeps for ever. Who has to know of one lock reads the events.
//!
//! Types, units and descriptions are given to the recorder whenever a store is opened. A lock that was
//! taken or waited for before the recorder was installed does not count in the gauges, neither when it
//! begins nor when it ends, so they never fall below zero. A lock with a fixed lifetime that ran out is
//! held until somebody notices: its holder, or whoever watches for the loss.
//!
//! # What is not exact
//!
//! A grant that came after its lease had run out is told as `lock lost` and `lock unavailable`, and was
//! never granted. In a process that forked, parent and child count on by themselves.

mod event;
mod nothing;

#[cfg(any(feature = "tracing", feature = "metrics"))]
mod acquiring;
#[cfg(feature = "metrics")]
mod meters;
#[cfg(feature = "tracing")]
mod spans;
#[cfg(any(feature = "tracing", feature = "metrics"))]
mod tally;
#[cfg(any(feature = "tracing", feature = "metrics"))]
mod words;

#[cfg(not(feature = "metrics"))]
use nothing::meters;
#[cfg(not(feature = "tracing"))]
use nothing::spans;
#[cfg(not(any(feature = "tracing", feature = "metrics")))]
use nothing::{acquiring, tally};

pub(crate) use acquiring::{Acquiring, acquiring};
pub(crate) use event::Event;
pub(crate) use meters::{Hold, Waiting};
pub(crate) use tally::{HeldFor, Tally};

use crate::{Breaking, Claim, Denied, Error, Holder, Site};

/// Whether anything is told, so that the times of it must be known.
pub(crate) const IS_TOLD: bool = cfg!(any(feature = "tracing", feature = "metrics"));

/// Whether events are told.
pub(crate) const HAS_EVENTS: bool = cfg!(feature = "tracing");

/// A store is opened.
pub(crate) fn opened() {
    meters::describe();
}

/// Something happens to a lock, or to an acquisition of it.
pub(crate) fn tell(site: &Site, claim: &Claim, event: Event<'_>) {
    spans::tell(site, claim, &event);
    meters::tell(site, claim, &event);
}

/// An acquisition finds the lock taken; told once for each.
pub(crate) fn contended(site: &Site, claim: &Claim, denied: Denied) {
    if claim.tally().is_first_denial() {
        tell(site, claim, Event::Contended(denied));
    }
}

/// An acquisition finds a store that grants nothing; told once for each.
pub(crate) fn quarantined(site: &Site, claim: &Claim, error: &Error) {
    if claim.tally().is_first_quarantine() {
        tell(site, claim, Event::Quarantined { remaining: error.retry_after() });
    }
}

/// This process takes a lock from its holder.
pub(crate) fn force_released(site: &Site, holder: &Holder, breaking: Breaking, reason: &str) {
    spans::force_released(site, holder, breaking, reason);
    meters::force_released(site);
}
