//! A process that was told to stop tells what it lets go of. Alone in its process, since it releases
//! everything.
#![cfg(all(feature = "tracing", feature = "metrics"))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

#[allow(dead_code, unreachable_pub, reason = "modules of several tests")]
mod observe {
    pub mod watch;
    pub mod ways;
}

use std::time::Duration;

use observe::watch::watched;
use observe::ways::{Lock, WAYS};
use tenure_core::aio::{self, block_on};
use tenure_core::testing::Scripted;

#[test]
fn what_a_process_lets_go_of_is_lost_to_its_holders_and_released() {
    let blocks: fn() -> usize = || tenure_core::release_all().len();
    let polled: fn() -> usize = || block_on(aio::release_all()).len();
    for release_all in [blocks, polled] {
        for way in WAYS {
            let ((), spans, meters) = watched(|_, _| {
                let store = Scripted::new();
                let held = Lock::new(&store, way, "a").acquire().unwrap();
                store.clock().advance(Duration::from_secs(2));
                assert_eq!(release_all(), 0);
                assert!(held.release().is_err_and(|error| error.is_lost()));
            });
            let told: Vec<_> = spans.events().into_iter().skip(1).collect();
            assert_eq!(told.len(), 2, "{told:?}");
            assert_eq!((told[0].what.as_str(), told[0].text("cause")), ("lock lost", "released"));
            assert_eq!(told[1].what, "lock released");
            assert!(told.iter().all(|told| told.number("held") == 2.0));
            assert_eq!(meters.counter("tenure_losses_total", Some(("cause", "released"))), 1);
            assert_eq!(meters.counter("tenure_releases_total", Some(("outcome", "released"))), 1);
            assert_eq!(meters.histogram("tenure_hold_seconds", None), [2.0]);
            assert_eq!(meters.gauge("tenure_held"), 0.0);
        }
    }
}
