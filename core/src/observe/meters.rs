//! What is told to `metrics`.

use metrics::{Gauge, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

use super::words::{outcome, word};
use super::{Event, HeldFor};
use crate::{Claim, Result, Site};

const ACQUISITIONS: &str = "tenure_acquisitions_total";
const WAIT: &str = "tenure_wait_seconds";
const CONTENTIONS: &str = "tenure_contentions_total";
const WAITING: &str = "tenure_waiting";
const HELD: &str = "tenure_held";
const HOLD: &str = "tenure_hold_seconds";
const RENEWALS: &str = "tenure_renewals_total";
const LOSSES: &str = "tenure_losses_total";
const RELEASES: &str = "tenure_releases_total";
const FORCE_RELEASES: &str = "tenure_force_releases_total";

/// Tells the recorder what there will be. Cheap, and not harmful when repeated.
pub(super) fn describe() {
    describe_counter!(ACQUISITIONS, Unit::Count, "acquisitions that have come to an end");
    describe_histogram!(WAIT, Unit::Seconds, "how long each acquisition took");
    describe_counter!(CONTENTIONS, Unit::Count, "acquisitions that found the lock taken, or others waiting");
    describe_gauge!(WAITING, Unit::Count, "acquisitions that wait now");
    describe_gauge!(HELD, Unit::Count, "locks that are held now");
    describe_histogram!(HOLD, Unit::Seconds, "how long each lock was held");
    describe_counter!(RENEWALS, Unit::Count, "requests to renew, by their answer");
    describe_counter!(LOSSES, Unit::Count, "locks that were lost before they were released");
    describe_counter!(RELEASES, Unit::Count, "requests to release, by their answer");
    describe_counter!(FORCE_RELEASES, Unit::Count, "locks that this process took from their holders");
}

pub(super) fn tell(site: &Site, claim: &Claim, event: &Event<'_>) {
    let store = site.shared_label();
    match *event {
        Event::Granted { .. } => ended(site, claim, "granted"),
        Event::Refused { error } => ended(site, claim, outcome(error)),
        Event::Abandoned => ended(site, claim, "abandoned"),
        Event::Contended(_) => counter!(CONTENTIONS, "store" => store).increment(1),
        Event::Renewal { answer, .. } => {
            counter!(RENEWALS, "store" => store, "outcome" => answered("renewed", answer)).increment(1);
        }
        Event::Lost { cause, .. } => {
            counter!(LOSSES, "store" => store, "cause" => word(cause)).increment(1);
        }
        Event::Release { answer, .. } => {
            counter!(RELEASES, "store" => store, "outcome" => answered("released", answer)).increment(1);
        }
        Event::Quarantined { .. }
        | Event::Unanswered { .. }
        | Event::WaitsForItself { .. }
        | Event::Left { .. } => {}
    }
}

fn ended(site: &Site, claim: &Claim, outcome: &'static str) {
    let waited = claim.tally().waited(site);
    counter!(ACQUISITIONS, "store" => site.shared_label(), "outcome" => outcome).increment(1);
    histogram!(WAIT, "store" => site.shared_label(), "outcome" => outcome).record(waited);
}

fn answered(done: &'static str, answer: &Result<()>) -> &'static str {
    match answer {
        Ok(()) => done,
        Err(error) if error.is_lost() => "lost",
        Err(_) => "unanswered",
    }
}

pub(super) fn force_released(site: &Site) {
    counter!(FORCE_RELEASES, "store" => site.shared_label()).increment(1);
}

/// Counts an acquisition that waits, as long as this lives.
///
/// It counts down where it counted up: a recorder that is installed in between knows of neither.
pub(crate) struct Waiting(Gauge);

impl Waiting {
    pub(crate) fn begin(site: &Site) -> Self {
        let waiting = gauge!(WAITING, "store" => site.shared_label());
        waiting.increment(1);
        Self(waiting)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.decrement(1);
    }
}

/// Counts a lock that is held, until it is said to be over.
pub(crate) struct Hold(Gauge);

impl Hold {
    pub(crate) fn begin(site: &Site) -> Self {
        let held = gauge!(HELD, "store" => site.shared_label());
        held.increment(1);
        Self(held)
    }

    /// To be called once.
    pub(crate) fn over(&self, site: &Site, held: HeldFor) {
        self.0.decrement(1);
        histogram!(HOLD, "store" => site.shared_label()).record(held.as_secs_f64());
    }
}
