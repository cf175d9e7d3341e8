//! The end of a hold.

use std::thread;
use std::time::{Duration, Instant};

use tenure_core::{Cause, Kind};

use super::Covers::{Defect, Row};
use super::{Case, SHORT, SOON, refused};
use crate::failure::{Failure, ensure};

pub(super) const CASES: &[Case] = &[
    Case {
        name: "a_release_frees_the_lock_at_once",
        covers: &[Row(11)],
        needs: &[],
        run: |context| {
            let lock = context.store().lock(&context.name("x"));
            lock.try_acquire()?.release()?;
            lock.try_acquire()?.release()?;
            Ok(())
        },
    },
    Case {
        name: "a_release_after_expiry_reports_the_loss",
        covers: &[Row(9), Row(16)],
        needs: &[],
        run: |context| {
            let held = context.store().lock(&context.name("x")).ttl(SHORT).try_acquire()?;
            held.lost();
            refused(held.release(), Kind::Lost)?;
            Ok(())
        },
    },
    Case {
        name: "a_late_release_never_frees_the_next_owner",
        covers: &[Row(10), Row(13), Row(14), Row(17), Defect(4)],
        needs: &[],
        run: |context| {
            let lock = context.store().lock(&context.name("x"));
            let late = lock.clone().ttl(SHORT).try_acquire()?;
            let next = lock.acquire_for(SOON)?;
            refused(late.release(), Kind::Lost)?;
            refused(lock.try_acquire(), Kind::Contended)?;
            next.renew()?;
            next.release()?;
            Ok(())
        },
    },
    Case {
        name: "a_release_at_the_instant_of_expiry_never_frees_the_next_owner",
        covers: &[Row(14), Defect(4)],
        needs: &[],
        run: |context| {
            let ttl = Duration::from_millis(30);
            for round in 0..60_u64 {
                let lock = context.store().lock(&context.name(&round.to_string()));
                let held = lock.clone().ttl(ttl).try_acquire()?;
                let began = Instant::now();
                let next = thread::scope(|scope| {
                    let next = scope.spawn(|| lock.acquire_for(SOON));
                    // All over the last milliseconds of the lease and the first after it.
                    let wait = Duration::from_micros(25_000 + round * 150);
                    thread::sleep(wait.saturating_sub(began.elapsed()));
                    drop(held.release());
                    next.join()
                });
                let next = next.map_err(|_| Failure::new("the waiter panicked"))??;
                refused(lock.try_acquire(), Kind::Contended)?;
                next.release()?;
            }
            Ok(())
        },
    },
    Case {
        name: "dropping_a_held_lock_releases_it",
        covers: &[],
        needs: &[],
        run: |context| {
            let lock = context.store().lock(&context.name("x"));
            drop(lock.try_acquire()?);
            lock.try_acquire()?.release()?;
            Ok(())
        },
    },
    Case {
        name: "a_panicking_holder_releases_the_lock",
        covers: &[],
        needs: &[],
        run: |context| {
            let lock = context.store().lock(&context.name("x"));
            let panicked = thread::scope(|scope| {
                let holder = scope.spawn(|| {
                    let _held = lock.try_acquire();
                    std::panic::resume_unwind(Box::new("on purpose"));
                });
                holder.join().is_err()
            });
            ensure!(panicked, "the holder did not panic");
            lock.try_acquire()?.release()?;
            Ok(())
        },
    },
    Case {
        name: "a_closure_runs_with_the_lock_held_and_leaves_it_free",
        covers: &[Row(24), Row(25)],
        needs: &[],
        run: |context| {
            let lock = context.store().lock(&context.name("x"));
            let inside = lock.run(|| lock.try_acquire().is_err_and(|error| error.is_contended()))?;
            ensure!(inside, "the lock was free inside");
            lock.try_acquire()?.release()?;
            Ok(())
        },
    },
    Case {
        name: "a_lock_dropped_unreleased_on_purpose_stays_until_its_lease_ends",
        covers: &[],
        needs: &[],
        run: |context| {
            let lock = context.store().lock(&context.name("x"));
            let began = Instant::now();
            drop(lock.clone().ttl(SHORT).release_on_drop(false).try_acquire()?);
            refused(lock.try_acquire(), Kind::Contended)?;
            lock.acquire_for(SOON)?.release()?;
            ensure!(began.elapsed() >= SHORT, "free after {:?} of {SHORT:?}", began.elapsed());
            Ok(())
        },
    },
    Case {
        name: "a_kept_lock_dropped_unreleased_on_purpose_ends_with_its_lease",
        covers: &[Defect(11)],
        needs: &[],
        run: |context| {
            let lock = context.store().lock(&context.name("x"));
            drop(lock.clone().release_on_drop(false).try_acquire()?);
            refused(lock.try_acquire(), Kind::Contended)?;
            lock.acquire_for(SOON)?.release()?;
            Ok(())
        },
    },
    Case {
        name: "a_name_is_kept_for_its_least_time_after_an_early_release",
        covers: &[],
        needs: &[],
        run: |context| {
            let lock = context.store().lock(&context.name("x"));
            let least = SHORT * 2;
            let held = lock.clone().hold_at_least(least).try_acquire()?;
            let granted = Instant::now();
            held.release()?;
            refused(lock.try_acquire(), Kind::Contended)?;
            lock.acquire_for(SOON)?.release()?;
            ensure!(granted.elapsed() >= least, "free after {:?} of {least:?}", granted.elapsed());
            Ok(())
        },
    },
    Case {
        name: "a_name_is_free_at_once_after_its_least_time",
        covers: &[],
        needs: &[],
        run: |context| {
            let lock = context.store().lock(&context.name("x")).hold_at_least(Duration::from_millis(30));
            let held = lock.try_acquire()?;
            thread::sleep(Duration::from_millis(40));
            held.release()?;
            lock.try_acquire()?.release()?;
            Ok(())
        },
    },
    Case {
        name: "a_released_lock_is_lost_to_whoever_held_its_token",
        covers: &[Row(12), Defect(15)],
        needs: &[super::Need::Restore],
        run: |context| {
            let lock = context.store().lock(&context.name("x"));
            let first = lock.try_acquire()?;
            let second = lock.restore(first.owner())?;
            second.release()?;
            let error = refused(first.release(), Kind::Lost)?;
            ensure!(error.cause() != Some(Cause::Expired), "it had not expired: {error:?}");
            Ok(())
        },
    },
];
