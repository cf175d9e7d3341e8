//! What is to happen at which call.

use std::fmt;
use std::ops::{Bound, RangeBounds};
use std::time::Duration;

use super::Scripted;
use crate::{Cause, Error, Result};

/// What a caller asks of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Verb {
    Acquire,
    Renew,
    Release,
}

/// Which calls of a kind are meant, counted from 1: a number, or a range such as `2..` or `1..=3`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Calls {
    first: u32,
    last: u32,
}

impl Calls {
    fn contains(self, call: u32) -> bool {
        (self.first..=self.last).contains(&call)
    }

    fn range(range: impl RangeBounds<u32>) -> Self {
        let first = match range.start_bound() {
            Bound::Included(first) => *first,
            Bound::Excluded(before) => before.saturating_add(1),
            Bound::Unbounded => 1,
        };
        let last = match range.end_bound() {
            Bound::Included(last) => *last,
            Bound::Excluded(after) => after.saturating_sub(1),
            Bound::Unbounded => u32::MAX,
        };
        Self { first, last }
    }
}

impl From<u32> for Calls {
    fn from(call: u32) -> Self {
        Self { first: call, last: call }
    }
}

macro_rules! ranges {
    ($($range:ty),*) => {$(
        impl From<$range> for Calls {
            fn from(range: $range) -> Self {
                Self::range(range)
            }
        }
    )*};
}

ranges!(
    std::ops::Range<u32>,
    std::ops::RangeInclusive<u32>,
    std::ops::RangeFrom<u32>,
    std::ops::RangeTo<u32>,
    std::ops::RangeToInclusive<u32>,
    std::ops::RangeFull
);

/// Some calls about a name, of which the script is to say what happens.
#[must_use = "it says nothing yet; go on with what is to happen, such as `.fail()`"]
pub struct On<'s> {
    pub(super) store: &'s Scripted,
    pub(super) name: Box<str>,
    pub(super) verb: Verb,
    pub(super) calls: Calls,
}

impl On<'_> {
    /// The store does not answer, and the call has no effect: `Unavailable`.
    pub fn fail(self) {
        self.happens(Twist::Fail);
    }

    /// The store does what it is asked, and its answer gets lost: `Unavailable`.
    pub fn go_unanswered(self) {
        self.happens(Twist::Unanswered);
    }

    /// The answer takes this long, on the store's clock, which a thread moves by waiting for it and
    /// a task does not.
    pub fn take(self, time: Duration) {
        self.happens(Twist::Slow(time));
    }

    /// Somebody else turns out to hold the lock, or to have taken it: an acquire is denied, a renewal
    /// or a release is `Lost`.
    pub fn deny(self) {
        self.happens(Twist::Lose(Cause::Superseded));
    }

    /// The lock is gone: a renewal or a release is `Lost`, for this reason; an acquire is denied.
    pub fn lose(self, cause: Cause) {
        self.happens(Twist::Lose(cause));
    }

    /// The store has forgotten who holds what, and grants nothing for this long: `Quarantined`.
    pub fn quarantine(self, time: Duration) {
        self.happens(Twist::Quarantine(time));
    }

    fn happens(self, twist: Twist) {
        let Self { store, name, verb, calls } = self;
        store.add_rule(Rule { name, verb, calls, twist });
    }
}

impl fmt::Debug for On<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("On").field("name", &self.name).field("verb", &self.verb).finish_non_exhaustive()
    }
}

/// One line of a script.
pub(super) struct Rule {
    name: Box<str>,
    verb: Verb,
    calls: Calls,
    twist: Twist,
}

impl Rule {
    /// What it says of this call, if it speaks of it.
    pub(super) fn twist(&self, name: &str, verb: Verb, call: u32) -> Option<Twist> {
        let meant = *self.name == *name && self.verb == verb && self.calls.contains(call);
        meant.then_some(self.twist)
    }
}

/// What happens instead of a plain answer.
#[derive(Clone, Copy, Debug)]
pub(super) enum Twist {
    Fail,
    Unanswered,
    Slow(Duration),
    Quarantine(Duration),
    Lose(Cause),
}

impl Twist {
    /// What becomes of an answer on its way back.
    pub(super) fn answer<T>(twist: Option<Self>, answer: Result<T>) -> Result<T> {
        match twist {
            Some(Self::Unanswered) => Err(Error::unavailable("the script lets the answer get lost")),
            _ => answer,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_from_one() {
        for (calls, meant) in [
            (Calls::from(2), [false, true, false]),
            (Calls::from(2..), [false, true, true]),
            (Calls::from(..2), [true, false, false]),
            (Calls::from(1..=2), [true, true, false]),
            (Calls::from(..), [true, true, true]),
            (Calls::from(2..2), [false, false, false]),
        ] {
            assert_eq!([1, 2, 3].map(|call| calls.contains(call)), meant, "{calls:?}");
        }
    }
}
