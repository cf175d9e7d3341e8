//! What the users of a store saw while things failed, and whether it can be true.
//!
//! A lease cannot be checked like a mutex: nobody but the holder knows until when it believed. So each
//! user writes down what it asked and when it believed, on one host's suspend-aware clock, and each write
//! under a lock goes through a [`Gate`]. Then a [`History`] is searched for what must never be:
//!
//! * **beliefs that overlap**: two owners of a name that both believed to hold it alone. What is written
//!   down is from the moment when the answer was there to the last one at which the holder still
//!   believed, so that an overlap which is found was one;
//! * **fences that go back**: a grant that was asked for after another was there, with a fence that is
//!   not larger, or a fence that was given twice;
//! * **stale writes**: the gate let something through of a grant that was there before another was even
//!   asked for, after it had let that other one through.
//!
//! ```
//! use std::time::Duration;
//! use tenure_conformance::history::{Breach, Event, History};
//! use tenure_core::{Fence, Moment, Owner};
//!
//! let at = |ms: u64| Moment::from_nanos(ms * 1_000_000);
//! let belief = |who, fence, from, until| {
//!     let event = Event::granted(who, "a", Owner::random(), Fence::new(fence), at(from), at(from));
//!     event.believed_until(at(until))
//! };
//! let history = History::from_iter([belief("x", 1, 0, 300), belief("y", 2, 200, 400)]);
//! assert_eq!(history.findings()[0].breach(), Breach::Overlap);
//! ```

mod gate;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tenure_core::{Fence, Kind, Moment, Owner};

use crate::agent::kind_text;
pub use gate::{Gate, Pass};

/// One attempt to get a lock, and what came of it. Goes from process to process as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    who: String,
    name: String,
    asked: u64,
    answered: u64,
    outcome: Outcome,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Outcome {
    Granted { owner: Owner, fence: u64, until: u64 },
    Refused { kind: String, message: String, waited: bool },
}

impl Event {
    /// A lock was granted, and not believed in for any time yet. `asked` is before the call, `answered`
    /// after it.
    #[must_use]
    pub fn granted(
        who: &str,
        name: &str,
        owner: Owner,
        fence: Fence,
        asked: Moment,
        answered: Moment,
    ) -> Self {
        let outcome = Outcome::Granted { owner, fence: fence.get(), until: answered.as_nanos() };
        Self::new(who, name, asked, answered, outcome)
    }

    /// A lock was not granted. `waited` says that the call was one that waits.
    #[must_use]
    pub fn refused(
        who: &str,
        name: &str,
        error: &tenure_core::Error,
        waited: bool,
        asked: Moment,
        answered: Moment,
    ) -> Self {
        let outcome =
            Outcome::Refused { kind: kind_text(error.kind()), message: format!("{error:?}"), waited };
        Self::new(who, name, asked, answered, outcome)
    }

    fn new(who: &str, name: &str, asked: Moment, answered: Moment, outcome: Outcome) -> Self {
        let (asked, answered) = (asked.as_nanos(), answered.as_nanos());
        Self { who: who.into(), name: name.into(), asked, answered, outcome }
    }

    /// Says that the holder still believed at a moment: one that was read before it asked itself.
    #[must_use]
    pub fn believed_until(mut self, moment: Moment) -> Self {
        if let Outcome::Granted { until, .. } = &mut self.outcome {
            *until = moment.as_nanos().max(*until);
        }
        self
    }

    /// Who.
    #[must_use]
    pub fn who(&self) -> &str {
        &self.who
    }

    /// When it asked.
    #[must_use]
    pub fn asked(&self) -> Moment {
        Moment::from_nanos(self.asked)
    }

    /// When the answer was there.
    #[must_use]
    pub fn answered(&self) -> Moment {
        Moment::from_nanos(self.answered)
    }

    /// Whether the lock was granted.
    #[must_use]
    pub fn is_granted(&self) -> bool {
        matches!(self.outcome, Outcome::Granted { .. })
    }

    /// Whether the lock was refused with this kind of error.
    #[must_use]
    pub fn is_refused_as(&self, expected: Kind) -> bool {
        matches!(&self.outcome, Outcome::Refused { kind, .. } if *kind == kind_text(expected))
    }

    /// Whether it was a call that waits.
    #[must_use]
    pub fn waited(&self) -> bool {
        matches!(self.outcome, Outcome::Refused { waited: true, .. })
    }

    fn belief(&self) -> Option<Belief<'_>> {
        match self.outcome {
            Outcome::Granted { owner, fence, until } => Some(Belief { event: self, owner, fence, until }),
            Outcome::Refused { .. } => None,
        }
    }
}

/// In milliseconds of the clock, so that several can be compared.
impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |nanos: u64| Duration::from_nanos(nanos).as_secs_f64() * 1000.0;
        write!(f, "{} on {:?}: asked {:.3}, ", self.who, self.name, ms(self.asked))?;
        match &self.outcome {
            Outcome::Granted { fence, until, .. } => {
                write!(
                    f,
                    "granted {:.3} with fence {fence}, believed until {:.3}",
                    ms(self.answered),
                    ms(*until)
                )
            }
            Outcome::Refused { message, .. } => write!(f, "refused {:.3}: {message}", ms(self.answered)),
        }
    }
}

/// A grant, from when the holder had it to when it last believed in it.
#[derive(Clone, Copy)]
struct Belief<'h> {
    event: &'h Event,
    owner: Owner,
    fence: u64,
    until: u64,
}

/// What must never be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Breach {
    /// Two owners believed at once.
    Overlap,
    /// A later grant has a smaller fence, or the same.
    FenceWentBack,
    /// The gate let through what was overtaken.
    StaleWrite,
    /// The value behind the gate is not the number of writes that it accepted.
    LostUpdate,
    /// The gate was used under a grant that nobody wrote down.
    Unheard,
}

/// A breach, and between whom.
#[derive(Clone, Debug)]
pub struct Finding {
    breach: Breach,
    text: String,
}

impl Finding {
    /// What it is.
    #[must_use]
    pub fn breach(&self) -> Breach {
        self.breach
    }

    fn between(breach: Breach, first: &Event, second: &Event) -> Self {
        Self { breach, text: format!("{first}\n     {second}") }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.breach, self.text)
    }
}

/// All that was written down, by anybody, in any order.
#[derive(Clone, Debug, Default)]
pub struct History {
    events: Vec<Event>,
}

impl History {
    /// What was written down.
    #[must_use]
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// Overlaps, and fences that went back.
    #[must_use]
    pub fn findings(&self) -> Vec<Finding> {
        let mut by_name: BTreeMap<&str, Vec<Belief<'_>>> = BTreeMap::new();
        for belief in self.events.iter().filter_map(Event::belief) {
            by_name.entry(&belief.event.name).or_default().push(belief);
        }
        by_name.into_values().flat_map(|beliefs| [overlaps(&beliefs), fences(&beliefs)].concat()).collect()
    }

    /// What a gate let through although it must not have, and what got lost behind it.
    #[must_use]
    pub fn findings_at(&self, gate: &[Pass]) -> Vec<Finding> {
        let beliefs: HashMap<Owner, Belief<'_>> =
            self.events.iter().filter_map(Event::belief).map(|belief| (belief.owner, belief)).collect();
        let mut found = Vec::new();
        let mut latest: Option<Belief<'_>> = None;
        for pass in gate.iter().filter(|pass| pass.is_accepted()) {
            let Some(&belief) = beliefs.get(&pass.owner()) else {
                found.push(Finding { breach: Breach::Unheard, text: format!("{pass:?}") });
                continue;
            };
            match latest {
                Some(latest) if belief.event.answered < latest.event.asked => {
                    found.push(Finding::between(Breach::StaleWrite, latest.event, belief.event));
                }
                Some(latest) if belief.event.asked <= latest.event.asked => {}
                _ => latest = Some(belief),
            }
        }
        let writes = gate.iter().filter(|pass| pass.is_accepted() && pass.wrote().is_some());
        let value = writes.clone().next_back().and_then(Pass::wrote).unwrap_or(0);
        let count = writes.count() as u64;
        if value != count {
            let text = format!(
                "{count} writes were accepted, each of one more than was read, and the value is {value}"
            );
            found.push(Finding { breach: Breach::LostUpdate, text });
        }
        found
    }
}

impl FromIterator<Event> for History {
    fn from_iter<I: IntoIterator<Item = Event>>(events: I) -> Self {
        Self { events: events.into_iter().collect() }
    }
}

/// Beliefs of one name that have a moment in common with one that began earlier.
fn overlaps(beliefs: &[Belief<'_>]) -> Vec<Finding> {
    // Who was stopped before the answer came, and found the lease over when it did, never believed.
    let mut beliefs = beliefs.to_vec();
    beliefs.retain(|belief| belief.until > belief.event.answered);
    beliefs.sort_by_key(|belief| belief.event.answered);
    let mut found = Vec::new();
    let mut longest: Option<Belief<'_>> = None;
    for belief in beliefs {
        if let Some(before) = longest.filter(|before| before.until > belief.event.answered) {
            found.push(Finding::between(Breach::Overlap, before.event, belief.event));
        }
        if longest.is_none_or(|before| before.until < belief.until) {
            longest = Some(belief);
        }
    }
    found
}

/// Grants of one name whose fences are not larger than that of one that was there before they were
/// asked for, and fences that were given twice.
fn fences(beliefs: &[Belief<'_>]) -> Vec<Finding> {
    let mut asked = beliefs.to_vec();
    asked.sort_by_key(|belief| belief.event.asked);
    let mut answered = beliefs.to_vec();
    answered.sort_by_key(|belief| belief.event.answered);
    let mut found = Vec::new();
    let mut earlier = answered.into_iter().peekable();
    let mut largest: Option<Belief<'_>> = None;
    for belief in asked {
        while let Some(before) = earlier.next_if(|before| before.event.answered < belief.event.asked) {
            if largest.is_none_or(|largest| largest.fence < before.fence) {
                largest = Some(before);
            }
        }
        if let Some(before) = largest.filter(|before| before.fence >= belief.fence) {
            found.push(Finding::between(Breach::FenceWentBack, before.event, belief.event));
        }
    }
    let mut given: HashMap<u64, Belief<'_>> = HashMap::new();
    for belief in beliefs {
        if let Some(before) = given.insert(belief.fence, *belief) {
            found.push(Finding::between(Breach::FenceWentBack, before.event, belief.event));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Moment {
        Moment::from_nanos(ms * 1_000_000)
    }

    fn belief(who: &str, fence: u64, asked: u64, from: u64, until: u64) -> Event {
        named("a", who, fence, asked, from, until)
    }

    fn named(name: &str, who: &str, fence: u64, asked: u64, from: u64, until: u64) -> Event {
        let granted = Event::granted(who, name, Owner::random(), Fence::new(fence), at(asked), at(from));
        granted.believed_until(at(until))
    }

    fn breaches(events: impl IntoIterator<Item = Event>) -> Vec<Breach> {
        History::from_iter(events).findings().iter().map(Finding::breach).collect()
    }

    #[test]
    fn a_history_in_which_each_waits_for_the_other_is_clean() {
        let events = [belief("x", 1, 0, 5, 10), belief("y", 2, 1, 11, 20), belief("x", 3, 12, 21, 30)];
        assert!(breaches(events).is_empty());
        // Nor does one name have to do with another.
        assert!(breaches([belief("x", 2, 0, 5, 50), named("b", "y", 1, 6, 7, 20)]).is_empty());
    }

    #[test]
    fn beliefs_that_overlap_are_found_in_any_order_of_the_records() {
        let (first, second) = (belief("x", 1, 0, 5, 12), belief("y", 2, 6, 11, 20));
        assert_eq!(breaches([first.clone(), second.clone()]), [Breach::Overlap]);
        assert_eq!(breaches([second, first]), [Breach::Overlap]);
    }

    #[test]
    fn a_belief_inside_of_another_does_not_hide_a_third() {
        let events = [belief("x", 1, 0, 5, 100), belief("y", 2, 6, 7, 8), belief("z", 3, 50, 60, 61)];
        assert_eq!(breaches(events), [Breach::Overlap, Breach::Overlap]);
    }

    #[test]
    fn fences_that_go_back_or_come_twice_are_found() {
        assert_eq!(breaches([belief("x", 9, 0, 5, 10), belief("y", 8, 11, 12, 20)]), [Breach::FenceWentBack]);
        assert_eq!(
            breaches([belief("x", 9, 0, 5, 6), belief("y", 9, 1, 7, 8)]),
            [Breach::FenceWentBack],
            "whose requests met may come in any order, but never with one fence"
        );
        assert!(breaches([belief("x", 9, 0, 5, 6), belief("y", 8, 4, 7, 8)]).is_empty());
    }

    #[test]
    fn a_late_look_never_shortens_a_belief() {
        let event = belief("x", 1, 0, 5, 10).believed_until(at(7));
        assert_eq!(breaches([event, belief("y", 2, 6, 9, 20)]), [Breach::Overlap]);
    }

    #[test]
    fn a_gate_that_lets_an_overtaken_grant_through_is_found() {
        let (old, new) = (belief("x", 2, 0, 5, 10), belief("y", 1, 6, 11, 20));
        let pass = |event: &Event, wrote| {
            let belief = event.belief().expect("it is a grant");
            Pass::accepted(belief.owner, belief.fence, wrote)
        };
        let found = |gate: &[Pass]| -> Vec<Breach> {
            let history = History::from_iter([old.clone(), new.clone()]);
            history.findings_at(gate).iter().map(Finding::breach).collect()
        };
        assert!(
            found(&[pass(&old, None), pass(&old, Some(1)), pass(&new, None), pass(&new, Some(2))]).is_empty()
        );
        assert_eq!(found(&[pass(&old, None), pass(&new, None), pass(&old, Some(1))]), [Breach::StaleWrite]);
        assert_eq!(found(&[pass(&old, Some(1)), pass(&new, Some(1))]), [Breach::LostUpdate]);
        let stranger = belief("z", 5, 0, 1, 2);
        assert_eq!(found(&[pass(&stranger, None)]), [Breach::Unheard]);
    }

    #[test]
    fn an_event_goes_through_json() {
        let error = tenure_core::Error::unavailable("gone");
        let refused = Event::refused("x", "a", &error, true, at(1), at(2));
        assert!(refused.is_refused_as(Kind::Unavailable) && refused.waited() && !refused.is_granted());
        for event in [refused, belief("x", 1, 0, 5, 10)] {
            let text = serde_json::to_string(&event).expect("an event can be written as JSON");
            assert_eq!(serde_json::from_str::<Event>(&text).expect("and read"), event);
        }
    }
}
