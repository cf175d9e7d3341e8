//! When a lease is renewed.

use std::time::Duration;

use super::Jitter;
use crate::Moment;

/// The next renewal of a lease of `ttl` that was granted or renewed at `sent`: at a third of it,
/// give or take a tenth of that, so that leases taken together are not renewed together for ever.
pub(crate) fn first_renewal(sent: Moment, ttl: Duration, jitter: Jitter) -> Moment {
    sent + jitter.scale(ttl / 3, 0.9, 1.1)
}

/// The next attempt after `failures` renewals in a row went unanswered: soon at first, then at
/// doubling distances up to a sixth of the lease; `None` once belief in the lease is over.
pub(crate) fn retry_renewal(
    now: Moment,
    ttl: Duration,
    valid_until: Moment,
    failures: u32,
    jitter: Jitter,
) -> Option<Moment> {
    if now >= valid_until {
        return None;
    }
    let first = (ttl / 60).clamp(Duration::from_millis(1), Duration::from_millis(500));
    let pause = first.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(ttl / 6);
    Some((now + jitter.scale(pause, 0.5, 1.0)).min(valid_until))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Moment = Moment::from_nanos(1_000_000_000_000);

    mod properties {
        use super::*;
        use proptest::prelude::*;

        proptest! {
            #[test]
            fn two_renewals_can_fail_before_the_lease_is_in_doubt(ttl in 10..3_600_000u64, fraction in 0.0..1.0f64) {
                let ttl = Duration::from_millis(ttl);
                let due = first_renewal(NOW, ttl, Jitter::fixed(fraction));
                prop_assert!(due > NOW && due.since(NOW) <= ttl.mul_f64(0.37));
                prop_assert!(due < NOW.valid_for(ttl));
            }

            #[test]
            fn retries_come_before_the_deadline_and_end_there(
                ttl in 10..3_600_000u64,
                elapsed in 0.0..1.5f64,
                failures in 1..1000u32,
                fraction in 0.0..1.0f64,
            ) {
                let ttl = Duration::from_millis(ttl);
                let (now, valid_until) = (NOW + ttl.mul_f64(elapsed), NOW.valid_for(ttl));
                match retry_renewal(now, ttl, valid_until, failures, Jitter::fixed(fraction)) {
                    Some(next) => prop_assert!(next > now && next <= valid_until && next.since(now) <= ttl / 6),
                    None => prop_assert!(now >= valid_until),
                }
            }
        }
    }

    #[test]
    fn an_unanswered_default_lease_is_tried_often_enough() {
        let ttl = Duration::from_secs(30);
        let valid_until = NOW.valid_for(ttl);
        let (mut now, mut failures) = (first_renewal(NOW, ttl, Jitter::fixed(0.5)), 0);
        while now < valid_until {
            failures += 1;
            now = retry_renewal(now, ttl, valid_until, failures, Jitter::fixed(1.0)).unwrap_or(valid_until);
        }
        assert!((6..20).contains(&failures), "{failures}");
    }
}
