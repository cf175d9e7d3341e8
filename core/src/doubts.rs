//! What a store may have forgotten, for grants that were under way when it said so.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError};

use crate::Moment;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{Mutex, MutexGuard};

/// Which keys are in doubt.
pub(crate) type Which = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// The doubts that a store told of, the latest ones with the keys that they are about.
///
/// What the process holds is doubted at once. A grant whose answer is still on its way is held by nobody
/// yet, so it asks here once it is.
#[derive(Default)]
pub(crate) struct Doubts {
    /// When the latest came, nanoseconds, so that a grant need not look further.
    latest: AtomicU64,
    recent: Mutex<Recent>,
}

#[derive(Default)]
struct Recent {
    doubts: VecDeque<(Moment, Which)>,
    /// Up to then, every key is in doubt: whichever was meant is remembered no more.
    all_until: Option<Moment>,
}

/// Of how many doubts it is remembered which keys they are about.
const RECENT: usize = 16;

impl Doubts {
    pub(crate) fn add(&self, at: Moment, which: Which) {
        let mut recent = self.recent();
        recent.doubts.push_back((at, which));
        if recent.doubts.len() > RECENT {
            let oldest = recent.doubts.pop_front().map(|(at, _)| at);
            recent.all_until = recent.all_until.max(oldest);
        }
        self.latest.fetch_max(at.as_nanos(), Ordering::SeqCst);
    }

    /// Whether a grant of a key that was asked for at `sent` may have been forgotten since.
    pub(crate) fn concern(&self, key: &str, sent: Moment) -> bool {
        if self.latest.load(Ordering::SeqCst) < sent.as_nanos() {
            return false;
        }
        let recent = self.recent();
        recent.all_until.is_some_and(|until| sent <= until)
            || recent.doubts.iter().any(|(at, which)| sent <= *at && which(key))
    }

    fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(nanos: u64) -> Moment {
        Moment::from_nanos(nanos)
    }

    #[test]
    fn a_doubt_concerns_its_keys_as_they_were_asked_for_before_it() {
        let doubts = Doubts::default();
        assert!(!doubts.concern("a", at(0)));
        doubts.add(at(10), Arc::new(|key| key == "a"));
        assert!(doubts.concern("a", at(9)) && doubts.concern("a", at(10)));
        assert!(!doubts.concern("a", at(11)) && !doubts.concern("b", at(9)));
    }

    #[test]
    fn of_what_is_long_ago_every_key_is_in_doubt() {
        let doubts = Doubts::default();
        doubts.add(at(10), Arc::new(|key| key == "a"));
        (0..RECENT as u64).for_each(|later| doubts.add(at(20 + later), Arc::new(|_| false)));
        assert!(doubts.concern("b", at(10)) && !doubts.concern("b", at(11)));
    }
}
