//! What this process saw of locks that others hold.
//!
//! The server counts seconds, and keeps a value for some more than its lease. A lease that ends exactly is
//! seen to end: who has looked at one and the same value for as long as its lease lasts, by a clock of its
//! own, knows that it was not renewed in that time, and that whoever wrote it has ceased to believe in it.
//! No two clocks need to agree, and of those who see it only one can put a value in its place.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tenure_core::Moment;

use crate::placement::fnv1a;
use crate::wire::Item;

/// The values that were seen, by their keys.
#[derive(Debug, Default)]
pub(crate) struct Seen(Mutex<HashMap<Box<[u8]>, Sight>>);

#[derive(Clone, Copy, Debug)]
struct Sight {
    value: Known,
    since: Moment,
    ttl: Duration,
}

/// What tells one value from another: its number, and since a server that is started anew counts from the
/// beginning, what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Known {
    cas: u64,
    said: u64,
}

impl Known {
    fn of(item: &Item) -> Self {
        Self { cas: item.cas, said: fnv1a(&[&item.value]) }
    }
}

/// For how many keys it is remembered before those that are over are forgotten.
const MANY: usize = 1024;

impl Seen {
    /// Takes in that a value was there at `now`, and says how much longer it must be seen; zero when its
    /// lease has ended.
    pub(crate) fn look(&self, key: &[u8], item: &Item, ttl: Duration, now: Moment) -> Duration {
        let (value, mut seen) = (Known::of(item), self.seen());
        if let Some(sight) = seen.get_mut(key) {
            if sight.value != value {
                *sight = Sight { value, since: now, ttl };
            }
            return sight.rest(now);
        }
        if seen.len() >= MANY {
            seen.retain(|_, sight| now.since(sight.since) < sight.ttl * 2);
        }
        let sight = Sight { value, since: now, ttl };
        seen.insert(key.into(), sight);
        sight.rest(now)
    }

    /// Whether the lease of a value is known to have ended.
    pub(crate) fn is_over(&self, key: &[u8], item: &Item, now: Moment) -> bool {
        let value = Known::of(item);
        self.seen().get(key).is_some_and(|sight| sight.value == value && sight.rest(now).is_zero())
    }

    fn seen(&self) -> MutexGuard<'_, HashMap<Box<[u8]>, Sight>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sight {
    /// One percent for clocks that run apart.
    fn rest(&self, now: Moment) -> Duration {
        let whole = self.ttl + self.ttl / 100 + Duration::from_millis(2);
        whole.saturating_sub(now.since(self.since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Moment = Moment::from_nanos(1_000_000_000_000);
    const TTL: Duration = Duration::from_millis(300);

    fn item(cas: u64) -> Item {
        Item { cas, value: b"somebody".to_vec(), ..Item::default() }
    }

    #[test]
    fn a_value_that_does_not_change_ends_with_its_lease_and_not_before() {
        let seen = Seen::default();
        assert_eq!(seen.look(b"k", &item(5), TTL, NOW), Duration::from_millis(305));
        assert!(!seen.look(b"k", &item(5), TTL, NOW + Duration::from_millis(304)).is_zero());
        assert!(!seen.is_over(b"k", &item(5), NOW + Duration::from_millis(304)));
        assert!(seen.look(b"k", &item(5), TTL, NOW + Duration::from_millis(305)).is_zero());
        assert!(seen.is_over(b"k", &item(5), NOW + Duration::from_millis(305)));
        assert!(!seen.is_over(b"k", &item(6), NOW + Duration::from_secs(9)));
    }

    #[test]
    fn a_renewed_value_begins_anew() {
        let seen = Seen::default();
        seen.look(b"k", &item(5), TTL, NOW);
        let later = NOW + Duration::from_millis(290);
        assert_eq!(seen.look(b"k", &item(6), TTL * 2, later), Duration::from_millis(608));
        assert!(!seen.look(b"k", &item(6), TTL * 2, later + Duration::from_millis(400)).is_zero());
    }

    #[test]
    fn another_value_with_the_number_of_one_before_a_restart_begins_anew() {
        let seen = Seen::default();
        seen.look(b"k", &item(5), TTL, NOW);
        let other = Item { value: b"another".to_vec(), ..item(5) };
        assert!(!seen.look(b"k", &other, TTL, NOW + TTL * 2).is_zero());
        assert!(!seen.is_over(b"k", &item(5), NOW + TTL * 2));
    }

    #[test]
    fn what_is_over_is_forgotten() {
        let seen = Seen::default();
        for key in 0..5000_u32 {
            seen.look(&key.to_be_bytes(), &item(1), TTL, NOW + TTL * key);
        }
        assert!(seen.seen().len() <= MANY);
    }
}
