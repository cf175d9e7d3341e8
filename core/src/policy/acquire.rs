//! When a waiter asks again and when it gives up.

use std::time::Duration;

use super::Jitter;
use crate::{Moment, Watch};

/// The schedule of one waiting acquisition.
#[derive(Debug)]
pub(crate) struct Acquire {
    until: Option<Moment>,
    sleep: Duration,
    recheck: Duration,
    due: Moment,
    resting: Moment,
    failing: Option<Failing>,
}

#[derive(Clone, Copy, Debug)]
struct Failing {
    since: Moment,
    pause: Duration,
}

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Ask the store.
    Ask,
    /// Nothing before this moment, unless an event comes.
    Sleep(Moment),
    /// The caller's time is over.
    TimedOut,
}

impl Acquire {
    /// Waits until `until`, or for ever; polls every `sleep` or trusts notifications for `recheck`.
    pub(crate) fn new(now: Moment, until: Option<Moment>, sleep: Duration, recheck: Duration) -> Self {
        Self { until, sleep, recheck, due: now, resting: now, failing: None }
    }

    /// What to do at `now`.
    pub(crate) fn step(&self, now: Moment) -> Step {
        let due = self.due.max(self.resting);
        match self.until {
            Some(until) if until <= now => Step::TimedOut,
            _ if due <= now => Step::Ask,
            Some(until) => Step::Sleep(due.min(until)),
            None => Step::Sleep(due),
        }
    }

    /// When the caller's time is over.
    pub(crate) fn limit(&self) -> Moment {
        self.until.unwrap_or(Moment::FAR)
    }

    /// The store said no. `watch` is its promise to notify, if there is one yet.
    pub(crate) fn denied(
        &mut self,
        now: Moment,
        retry_after: Option<Duration>,
        watch: Option<&Watch>,
        jitter: Jitter,
    ) {
        self.failing = None;
        let pause = match watch.filter(|watch| watch.is_armed()) {
            // Upwards only: an idle waiter of a store that notifies is nearly silent.
            Some(watch) => match watch.recheck() {
                Some(interval) => interval.min(self.recheck),
                None => jitter.scale(self.recheck, 1.0, 1.2),
            },
            None => jitter.scale(self.sleep, 0.9, 1.1),
        };
        // Just after the end that the store announced; asking earlier would be in vain.
        let free =
            retry_after.map(|left| left.saturating_add(jitter.scale(Duration::from_millis(2), 0.1, 1.0)));
        self.due = now + free.map_or(pause, |free| free.min(pause));
    }

    /// The store did not answer. False if it has not for as long as a waiter trusts silence, and
    /// the error is the caller's.
    pub(crate) fn failed(&mut self, now: Moment, jitter: Jitter) -> bool {
        let failing = self.failing.unwrap_or(Failing { since: now, pause: Duration::from_millis(25) });
        if now.since(failing.since) >= self.recheck {
            return false;
        }
        let pause = (failing.pause * 2).min(Duration::from_secs(1)).min(self.recheck);
        self.failing = Some(Failing { pause, ..failing });
        self.due = now + jitter.scale(pause, 0.5, 1.0);
        true
    }

    /// Something happened that may have freed the lock.
    pub(crate) fn notified(&mut self, now: Moment) {
        self.due = self.due.min(now);
    }

    /// Lets other processes go first: nothing is asked for `pause`.
    pub(crate) fn rest(&mut self, now: Moment, pause: Duration) {
        self.resting = now + pause;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Moment = Moment::from_nanos(1_000_000_000_000);
    const SLEEP: Duration = Duration::from_millis(100);
    const RECHECK: Duration = Duration::from_secs(5);

    fn waiting(limit: Option<Duration>) -> Acquire {
        Acquire::new(NOW, limit.map(|limit| NOW + limit), SLEEP, RECHECK)
    }

    mod properties {
        use super::*;
        use proptest::prelude::*;

        fn millis() -> impl Strategy<Value = Duration> {
            (0..100_000u64).prop_map(Duration::from_millis)
        }

        proptest! {
            #[test]
            fn a_step_never_sleeps_into_the_past_or_beyond_the_limit(
                limit in proptest::option::of(millis()),
                left in proptest::option::of(prop_oneof![millis(), Just(Duration::MAX)]),
                later in millis(),
                armed: bool,
                fraction in 0.0..1.0f64,
            ) {
                let mut policy = waiting(limit);
                let watch = if armed { Watch::armed(()) } else { Watch::none() };
                policy.denied(NOW, left, Some(&watch), Jitter::fixed(fraction));
                let now = NOW + later;
                match policy.step(now) {
                    Step::Sleep(until) => {
                        prop_assert!(until > now);
                        prop_assert!(limit.is_none_or(|limit| until <= NOW + limit));
                        prop_assert!(until <= NOW + RECHECK.mul_f64(1.2));
                    }
                    Step::TimedOut => prop_assert!(limit.is_some_and(|limit| limit <= later)),
                    Step::Ask => prop_assert!(limit.is_none_or(|limit| limit > later)),
                }
            }

            #[test]
            fn a_polled_store_is_asked_at_the_poll_interval(fraction in 0.0..1.0f64, left in 1000..100_000u64) {
                let mut policy = waiting(None);
                let left = Some(Duration::from_millis(left));
                policy.denied(NOW, left, Some(&Watch::none()), Jitter::fixed(fraction));
                prop_assert_eq!(policy.step(NOW + SLEEP.mul_f64(1.11)), Step::Ask);
                prop_assert!(matches!(policy.step(NOW + SLEEP.mul_f64(0.89)), Step::Sleep(_)));
            }

            #[test]
            fn a_store_that_notifies_is_left_alone_until_the_lease_ends_or_the_recheck(
                fraction in 0.0..1.0f64,
                left in proptest::option::of(1..20_000u64),
            ) {
                let mut policy = waiting(None);
                let left = left.map(Duration::from_millis);
                policy.denied(NOW, left, Some(&Watch::armed(())), Jitter::fixed(fraction));
                let early = left.map_or(RECHECK, |left| left.min(RECHECK));
                prop_assert!(matches!(policy.step(NOW + early - Duration::from_nanos(1)), Step::Sleep(_)));
                policy.notified(NOW);
                prop_assert_eq!(policy.step(NOW), Step::Ask);
            }

            #[test]
            fn an_unanswered_waiter_gives_up_within_twice_the_recheck(fraction in 0.0..1.0f64) {
                let mut policy = waiting(None);
                let (mut now, mut tries) = (NOW, 0);
                while policy.failed(now, Jitter::fixed(fraction)) {
                    let Step::Sleep(until) = policy.step(now) else { panic!("no pause after a failure") };
                    now = until;
                    tries += 1;
                }
                prop_assert!(now.since(NOW) >= RECHECK && now.since(NOW) < RECHECK * 2);
                prop_assert!((5..40).contains(&tries), "{tries} tries");
            }
        }
    }

    #[test]
    fn an_answer_forgives_earlier_failures() {
        let mut policy = waiting(None);
        assert!(policy.failed(NOW, Jitter::fixed(0.5)));
        policy.denied(NOW + RECHECK, None, None, Jitter::fixed(0.5));
        assert!(policy.failed(NOW + RECHECK * 2, Jitter::fixed(0.5)));
    }

    #[test]
    fn a_resting_waiter_ignores_events_until_its_rest_is_over() {
        let mut policy = waiting(None);
        policy.rest(NOW, Duration::from_millis(3));
        policy.notified(NOW);
        assert_eq!(policy.step(NOW), Step::Sleep(NOW + Duration::from_millis(3)));
        assert_eq!(policy.step(NOW + Duration::from_millis(3)), Step::Ask);
    }
}
