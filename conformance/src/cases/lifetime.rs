//! How long a grant lasts.

use std::thread;
use std::time::{Duration, Instant};

use tenure_core::{Cause, Kind, Moment, Status};

use super::Covers::{Defect, Row};
use super::{Case, SHORT, SOON, refused};
use crate::failure::ensure;
use crate::spec::LEASE;

pub(super) const CASES: &[Case] = &[
    Case {
        name: "a_lease_is_never_ended_early",
        covers: &[Row(15), Row(18), Defect(7)],
        needs: &[],
        run: |context| {
            for (round, millis) in [30, 70, 150, 300, 500, 1000].into_iter().enumerate() {
                let ttl = Duration::from_millis(millis);
                let lock = context.store().lock(&context.name(&round.to_string()));
                let before = Instant::now();
                let held = lock.clone().ttl(ttl).try_acquire()?;
                let next = lock.acquire_for(SOON)?;
                // Counted from before the request: even that is no less than the lease.
                ensure!(before.elapsed() >= ttl, "a lease of {ttl:?} ended after {:?}", before.elapsed());
                next.release()?;
                drop(held);
            }
            Ok(())
        },
    },
    Case {
        name: "an_expired_lock_is_free_without_its_holders_help",
        covers: &[Row(15), Defect(11)],
        needs: &[],
        run: |context| {
            let lock = context.store().lock(&context.name("x"));
            let held = lock.clone().ttl(SHORT).try_acquire()?;
            let next = lock.acquire_for(SOON)?;
            ensure!(next.fence() > held.fence(), "{:?} after {:?}", next.fence(), held.fence());
            next.release()?;
            Ok(())
        },
    },
    Case {
        name: "a_lock_without_a_lifetime_is_kept_alive",
        covers: &[Defect(10)],
        needs: &[],
        run: |context| {
            let lock = context.store().lock(&context.name("x"));
            let held = lock.try_acquire()?;
            thread::sleep(LEASE * 2);
            ensure!(held.status() == Status::Held, "{:?} after two leases", held.status());
            refused(lock.try_acquire(), Kind::Contended)?;
            held.release()?;
            Ok(())
        },
    },
    Case {
        name: "belief_ends_before_the_next_grant_begins",
        covers: &[],
        needs: &[],
        run: |context| {
            for round in 0..5 {
                let lock = context.store().lock(&context.name(&round.to_string()));
                let held = lock.clone().ttl(SHORT).try_acquire()?;
                let deadline = held.deadline();
                let next = lock.acquire_for(SOON)?;
                let now = Moment::now();
                ensure!(
                    held.status() == Status::Lost(Cause::Expired),
                    "{:?} with a next holder",
                    held.status()
                );
                ensure!(
                    deadline.is_some_and(|deadline| deadline < now),
                    "{deadline:?}, next grant at {now:?}"
                );
                next.release()?;
            }
            Ok(())
        },
    },
    Case {
        name: "belief_lasts_no_longer_than_the_lifetime",
        covers: &[],
        needs: &[],
        run: |context| {
            let ttl = Duration::from_secs(10);
            let held = context.store().lock(&context.name("x")).ttl(ttl).try_acquire()?;
            let left = held.remaining().unwrap_or(Duration::MAX);
            ensure!(left < ttl.mul_f64(0.99), "{left:?} of {ttl:?}: no margin for clocks that run apart");
            ensure!(left > ttl / 2, "{left:?} of {ttl:?}");
            held.release()?;
            Ok(())
        },
    },
    Case {
        name: "lifetimes_out_of_range_are_refused_and_take_nothing",
        covers: &[Defect(6)],
        needs: &[],
        run: |context| {
            let lock = context.store().lock(&context.name("x"));
            let held = lock.try_acquire()?;
            for ttl in [Duration::ZERO, Duration::from_millis(1), Duration::from_secs(7200), Duration::MAX] {
                refused(lock.clone().ttl(ttl).try_acquire(), Kind::Misconfigured)?;
                refused(held.renew_for(ttl), Kind::Misconfigured)?;
            }
            refused(
                lock.clone().hold_at_least(Duration::from_secs(7200)).try_acquire(),
                Kind::Misconfigured,
            )?;
            ensure!(held.status() == Status::Held, "{:?} after refusals", held.status());
            refused(lock.try_acquire(), Kind::Contended)?;
            held.release()?;
            lock.try_acquire()?.release()?;
            Ok(())
        },
    },
    Case {
        name: "a_lease_below_a_second_is_held_and_ends",
        covers: &[Row(18), Defect(6)],
        needs: &[],
        run: |context| {
            let lock = context.store().lock(&context.name("x"));
            let began = Instant::now();
            let held = lock.clone().ttl(Duration::from_millis(500)).try_acquire()?;
            refused(lock.try_acquire(), Kind::Contended)?;
            lock.acquire_for(SOON)?.release()?;
            let took = began.elapsed();
            ensure!(
                took >= Duration::from_millis(500) && took < Duration::from_secs(5),
                "free after {took:?}"
            );
            drop(held);
            Ok(())
        },
    },
];
