//! One holder at a time.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tenure_core::Kind;

use super::Covers::{Defect, Row};
use super::{Case, Context, SOON, refused};
use crate::failure::{Failure, Outcome, ensure};
use crate::subject::TestHeld;

pub(super) const CASES: &[Case] = &[
    Case {
        name: "a_free_lock_is_acquired_at_once",
        covers: &[Row(3), Row(8)],
        needs: &[],
        run: |context| {
            let began = Instant::now();
            context.store().lock(&context.name("try")).try_acquire()?.release()?;
            context.store().lock(&context.name("wait")).acquire()?.release()?;
            context.store().lock(&context.name("for")).acquire_for(Duration::ZERO)?.release()?;
            ensure!(began.elapsed() < SOON / 4, "three free locks took {:?}", began.elapsed());
            Ok(())
        },
    },
    Case {
        name: "a_held_lock_is_refused_as_contended",
        covers: &[Row(4), Row(5)],
        needs: &[],
        run: |context| {
            let lock = context.store().lock(&context.name("x"));
            let held = lock.try_acquire()?;
            let error = refused(lock.try_acquire(), Kind::Contended)?;
            ensure!(
                !error.is_unavailable() && error.is_settled(),
                "contention looks like a failure: {error:?}"
            );
            held.release()?;
            Ok(())
        },
    },
    Case {
        name: "a_refusal_tells_what_is_left_and_the_holders_fence",
        covers: &[],
        needs: &[],
        run: |context| {
            let lock = context.store().lock(&context.name("x")).ttl(Duration::from_secs(30));
            let held = lock.try_acquire()?;
            let error = refused(lock.try_acquire(), Kind::Contended)?;
            ensure!(
                error.holder() == Some(held.fence()),
                "{:?} instead of {:?}",
                error.holder(),
                held.fence()
            );
            let left = error.retry_after().ok_or_else(|| Failure::new("it does not tell what is left"))?;
            ensure!(
                left <= Duration::from_secs(30) && left > Duration::from_secs(20),
                "{left:?} left of 30 s"
            );
            held.release()?;
            Ok(())
        },
    },
    Case {
        name: "names_are_independent",
        covers: &[Row(6)],
        needs: &[],
        run: |context| {
            let one = context.store().lock(&context.name("one")).try_acquire()?;
            let other = context.store().lock(&context.name("other")).try_acquire()?;
            one.release()?;
            refused(context.store().lock(&context.name("other")).try_acquire(), Kind::Contended)?;
            other.release()?;
            Ok(())
        },
    },
    Case {
        name: "a_released_lock_can_be_acquired_again_and_again",
        covers: &[Row(7)],
        needs: &[],
        run: |context| {
            let lock = context.store().lock(&context.name("x"));
            for _ in 0..50 {
                lock.try_acquire()?.release()?;
            }
            Ok(())
        },
    },
    Case {
        name: "a_second_handle_sees_the_lock_and_owns_nothing",
        covers: &[Row(12), Row(34), Row(35)],
        needs: &[],
        run: |context| {
            let name = context.name("x");
            let held = context.store().lock(&name).try_acquire()?;
            let other = context.reopen()?;
            for _ in 0..3 {
                refused(other.lock(&name).try_acquire(), Kind::Contended)?;
            }
            ensure!(held.status().is_believed(), "others' attempts took it away");
            held.release()?;
            other.lock(&name).try_acquire()?.release()?;
            Ok(())
        },
    },
    Case {
        name: "a_held_lock_may_be_released_by_another_thread",
        covers: &[Row(36), Row(37), Row(38)],
        needs: &[],
        run: |context| {
            let lock = context.store().lock(&context.name("x"));
            let held = lock.try_acquire()?;
            // The thread that acquired it has no claim to it beyond the value.
            refused(lock.try_acquire(), Kind::Contended)?;
            let released = thread::scope(|scope| scope.spawn(|| held.release()).join());
            released.map_err(|_| Failure::new("the other thread panicked"))??;
            lock.try_acquire()?.release()?;
            Ok(())
        },
    },
    Case {
        name: "a_hundred_threads_lose_no_update",
        covers: &[Defect(1)],
        needs: &[],
        run: |context| {
            let (value, inside, overlaps) = (AtomicU64::new(0), AtomicBool::new(false), AtomicU32::new(0));
            let name = context.name("x");
            let work = || -> Outcome {
                for _ in 0..5 {
                    let held = context.store().lock(&name).acquire_for(SOON * 3)?;
                    overlaps.fetch_add(u32::from(inside.swap(true, Ordering::SeqCst)), Ordering::SeqCst);
                    let before = value.load(Ordering::SeqCst);
                    thread::yield_now();
                    value.store(before + 1, Ordering::SeqCst);
                    inside.store(false, Ordering::SeqCst);
                    held.release()?;
                }
                Ok(())
            };
            thread::scope(|scope| {
                let threads: Vec<_> = (0..100).map(|_| scope.spawn(work)).collect();
                threads
                    .into_iter()
                    .try_for_each(|thread| thread.join().map_err(|_| Failure::new("a thread panicked"))?)
            })?;
            let (value, overlaps) = (value.into_inner(), overlaps.into_inner());
            ensure!(value == 500 && overlaps == 0, "{value} of 500 updates, {overlaps} overlaps");
            Ok(())
        },
    },
    Case {
        name: "a_race_for_a_free_name_has_one_winner",
        covers: &[Defect(1)],
        needs: &[],
        run: |context| race(context, 200, |_| Ok(())),
    },
    Case {
        name: "a_race_for_an_expired_name_has_one_winner",
        covers: &[Defect(2)],
        needs: &[],
        run: |context| {
            race(context, 60, |name| {
                let held = context.store().lock(name).ttl(Duration::from_millis(15)).try_acquire()?;
                ensure!(held.lost() == tenure_core::Cause::Expired, "it was lost otherwise");
                // Belief ends a little before the lease does.
                thread::sleep(Duration::from_millis(5));
                std::mem::forget(held);
                Ok(())
            })
        },
    },
];

/// Four handles of the store ask for one name at once, many times.
fn race(context: &Context, rounds: usize, prepare: impl Fn(&str) -> Outcome) -> Outcome {
    let stores = [context.reopen()?, context.reopen()?, context.reopen()?, context.reopen()?];
    for round in 0..rounds {
        let name = context.name(&round.to_string());
        prepare(&name)?;
        let line = Barrier::new(stores.len());
        let winners: Vec<TestHeld> = thread::scope(|scope| {
            let racers: Vec<_> = stores
                .iter()
                .map(|store| {
                    let (line, lock) = (&line, store.lock(&name));
                    scope.spawn(move || {
                        line.wait();
                        lock.try_acquire()
                    })
                })
                .collect();
            racers.into_iter().filter_map(|racer| racer.join().ok()?.ok()).collect()
        });
        ensure!(winners.len() == 1, "round {round} had {} winners", winners.len());
        for winner in winners {
            winner.release()?;
        }
    }
    Ok(())
}
