//! How often a waiter looks, since the server cannot tell: a function of what it saw.

use std::time::Duration;

use tenure_core::Moment;

/// The schedule of one name that somebody waits for.
///
/// Short pauses first, each half as long again as the last, up to an eighth of how long the lock is usually
/// held: a lock that is held for moments is seen to be free within moments, and one that is held for long
/// costs the server next to nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    due: Moment,
    pause: Duration,
    /// Whose the lock was at the last look, and since when.
    holder: Option<u64>,
    since: Moment,
    /// How long it is usually held.
    hold: Option<Duration>,
}

/// The longest pause is between these, whatever is known.
const LEAST: Duration = Duration::from_millis(2);
const MOST: Duration = Duration::from_millis(50);

/// The first pause: some times what a look takes, and no less than this.
const FIRST: Duration = Duration::from_micros(100);

impl Pace {
    pub(crate) fn new(now: Moment) -> Self {
        Self { due: now, pause: Duration::ZERO, holder: None, since: now, hold: None }
    }

    pub(crate) fn due(&self) -> Moment {
        self.due
    }

    /// Takes in a look that took `took`; `holder` tells one grant from another. `jitter` is a random
    /// fraction, so that waiters do not look all at once.
    pub(crate) fn looked(&mut self, now: Moment, holder: Option<u64>, took: Duration, jitter: f64) {
        if self.holder != holder {
            if self.holder.is_some() {
                let held = now.since(self.since);
                self.hold = Some(self.hold.map_or(held, |hold| (hold * 3 + held) / 4));
            }
            (self.holder, self.since, self.pause) = (holder, now, Duration::ZERO);
        }
        let longest = self.hold.map_or(MOST, |hold| (hold / 8).clamp(LEAST, MOST));
        let first = (took * 4).clamp(FIRST, LEAST);
        self.pause = if self.pause.is_zero() { first } else { (self.pause * 3 / 2).min(longest) };
        self.due = now + self.pause.mul_f64(0.5 + jitter);
    }

    /// Nothing was seen: the server did not answer.
    pub(crate) fn failed(&mut self, now: Moment) {
        self.due = now + MOST * 2;
    }

    /// Looks at this moment at the latest.
    pub(crate) fn no_later_than(&mut self, moment: Moment) {
        self.due = self.due.min(moment);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Moment = Moment::from_nanos(1_000_000_000_000);
    const TOOK: Duration = Duration::from_micros(50);

    /// How often it looks while a lock is held so long, and how much later than its release.
    fn looks(pace: &mut Pace, begin: Moment, hold: Duration, holder: u64) -> (u32, Duration) {
        let (mut now, mut looks) = (begin, 0);
        while now < begin + hold {
            pace.looked(now, Some(holder), TOOK, 0.5);
            looks += 1;
            now = pace.due();
        }
        pace.looked(now, None, TOOK, 0.5);
        (looks, now.since(begin + hold))
    }

    #[test]
    fn a_hold_is_seen_to_end_within_half_of_it() {
        for millis in [1, 5, 20, 100] {
            let hold = Duration::from_millis(millis);
            let (looks, late) = looks(&mut Pace::new(NOW), NOW, hold, 1);
            assert!(late <= hold / 2 + TOOK * 4 && looks < 25, "{millis} ms: {looks} looks, {late:?} late");
        }
    }

    #[test]
    fn a_long_hold_costs_twenty_looks_a_second() {
        let (looks, _) = looks(&mut Pace::new(NOW), NOW, Duration::from_secs(10), 1);
        assert!((190..250).contains(&looks), "{looks}");
    }

    #[test]
    fn the_usual_hold_is_learned() {
        let mut pace = Pace::new(NOW);
        let mut begin = NOW;
        for holder in 0..10 {
            looks(&mut pace, begin, Duration::from_millis(40), holder);
            begin = pace.due();
        }
        let (_, late) = looks(&mut pace, begin, Duration::from_millis(40), 99);
        assert!(late <= Duration::from_millis(6), "{late:?}");
    }

    #[test]
    fn waiters_do_not_look_all_at_once() {
        let due = |jitter| {
            let mut pace = Pace::new(NOW);
            pace.looked(NOW, Some(1), TOOK, jitter);
            pace.due().since(NOW)
        };
        assert_eq!((due(0.0), due(0.5), due(1.0)), (TOOK * 2, TOOK * 4, TOOK * 6));
    }
}
