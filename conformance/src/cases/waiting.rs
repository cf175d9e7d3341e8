//! Waiting for a lock.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use tenure_core::Kind;

use super::Covers::{Defect, Row};
use super::{Case, SHORT, SOON, refused};
use crate::failure::{Failure, Outcome, ensure};

pub(super) const CASES: &[Case] = &[
    Case {
        name: "a_waiter_gets_the_lock_when_it_is_released",
        covers: &[],
        needs: &[],
        run: |context| {
            let lock = context.store().lock(&context.name("x"));
            let held = lock.try_acquire()?;
            thread::scope(|scope| -> Outcome {
                let waiter = scope.spawn(|| lock.acquire_for(SOON));
                thread::sleep(SHORT / 4);
                ensure!(!waiter.is_finished(), "it did not wait");
                held.release()?;
                waiter.join().map_err(|_| Failure::new("the waiter panicked"))??.release()?;
                Ok(())
            })
        },
    },
    Case {
        name: "a_bounded_wait_ends_after_its_limit_and_soon_after",
        covers: &[Row(19), Defect(14)],
        needs: &[],
        run: |context| {
            let lock = context.store().lock(&context.name("x"));
            let held = lock.try_acquire()?;
            let mut overshoots = Vec::new();
            for limit in [1, 5, 20, 50, 100, 200, 300].map(Duration::from_millis) {
                let began = Instant::now();
                refused(lock.acquire_for(limit), Kind::TimedOut)?;
                let took = began.elapsed();
                ensure!(took >= limit, "{took:?} instead of {limit:?}");
                overshoots.push(took - limit);
            }
            overshoots.sort_unstable();
            let median = overshoots[overshoots.len() / 2];
            ensure!(median < Duration::from_millis(40), "the median wait overshot by {median:?}");
            held.release()?;
            Ok(())
        },
    },
    Case {
        name: "a_wait_of_no_time_asks_once",
        covers: &[Row(19)],
        needs: &[],
        run: |context| {
            let lock = context.store().lock(&context.name("x"));
            let held = lock.acquire_for(Duration::ZERO)?;
            refused(lock.acquire_for(Duration::ZERO), Kind::TimedOut)?;
            held.release()?;
            Ok(())
        },
    },
    Case {
        name: "a_hand_over_takes_less_than_polling_would",
        covers: &[Defect(14)],
        needs: &[],
        run: |context| {
            let name = context.name("x");
            let (ours, theirs) = (context.store().lock(&name), context.reopen()?.lock(&name));
            let mut times = Vec::new();
            for _ in 0..25 {
                let held = ours.acquire_for(SOON)?;
                let got = thread::scope(|scope| -> Outcome<Duration> {
                    let waiter = scope.spawn(|| {
                        let held = theirs.acquire_for(SOON);
                        (Instant::now(), held)
                    });
                    thread::sleep(Duration::from_millis(5));
                    let released = Instant::now();
                    held.release()?;
                    let (got, held) = waiter.join().map_err(|_| Failure::new("the waiter panicked"))?;
                    held?.release()?;
                    Ok(got.saturating_duration_since(released))
                })?;
                times.push(got);
            }
            times.sort_unstable();
            // Polling every 100 ms takes 50; half of that leaves room for a busy machine.
            ensure!(times[12] < Duration::from_millis(25), "the median hand-over took {:?}", times[12]);
            Ok(())
        },
    },
    Case {
        name: "waiters_of_one_process_are_served_in_order",
        covers: &[Defect(14)],
        needs: &[],
        run: |context| {
            let lock = context.store().lock(&context.name("x"));
            let held = lock.try_acquire()?;
            let (tell, order) = mpsc::channel();
            thread::scope(|scope| -> Outcome {
                let mut waiters = Vec::new();
                for number in 0..6 {
                    let (lock, tell) = (&lock, tell.clone());
                    waiters.push(scope.spawn(move || -> Outcome {
                        let held = lock.acquire_for(SOON)?;
                        let _ = tell.send(number);
                        held.release()?;
                        Ok(())
                    }));
                    // Each stands in line before the next one comes.
                    thread::sleep(Duration::from_millis(40));
                }
                held.release()?;
                waiters
                    .into_iter()
                    .try_for_each(|waiter| waiter.join().map_err(|_| Failure::new("a waiter panicked"))?)
            })?;
            drop(tell);
            let order: Vec<_> = order.iter().collect();
            ensure!(order == [0, 1, 2, 3, 4, 5], "served as {order:?}");
            Ok(())
        },
    },
    Case {
        name: "a_waiter_that_gives_up_does_not_swallow_the_release",
        covers: &[],
        needs: &[],
        run: |context| {
            let lock = context.store().lock(&context.name("x"));
            for round in 0..10_u64 {
                let held = lock.try_acquire()?;
                thread::scope(|scope| -> Outcome {
                    // Gives up at about the time of the release.
                    let first = scope.spawn(|| lock.acquire_for(Duration::from_millis(25 + round)));
                    thread::sleep(Duration::from_millis(10));
                    let second = scope.spawn(|| lock.acquire_for(SOON));
                    thread::sleep(Duration::from_millis(20));
                    held.release()?;
                    let first = first.join().map_err(|_| Failure::new("the first waiter panicked"))?;
                    if let Ok(first) = first {
                        first.release()?;
                    }
                    let began = Instant::now();
                    second.join().map_err(|_| Failure::new("the second waiter panicked"))??.release()?;
                    ensure!(
                        began.elapsed() < Duration::from_secs(3),
                        "the next waiter slept {:?}",
                        began.elapsed()
                    );
                    Ok(())
                })?;
            }
            Ok(())
        },
    },
    Case {
        name: "a_waiter_that_gives_up_leaves_nothing_behind",
        covers: &[],
        needs: &[],
        run: |context| {
            let lock = context.store().lock(&context.name("x"));
            let held = lock.try_acquire()?;
            for _ in 0..5 {
                refused(lock.acquire_for(Duration::from_millis(15)), Kind::TimedOut)?;
            }
            held.release()?;
            lock.try_acquire()?.release()?;
            Ok(())
        },
    },
    Case {
        name: "a_timeout_says_that_this_very_process_holds_the_lock",
        covers: &[],
        needs: &[],
        run: |context| {
            let lock = context.store().lock(&context.name("x"));
            let held = lock.try_acquire()?;
            let error = refused(lock.acquire_for(Duration::from_millis(15)), Kind::TimedOut)?;
            let told = error.to_string();
            ensure!(told.contains("this very process") && told.contains(".rs:"), "it only says: {told}");
            held.release()?;
            Ok(())
        },
    },
    Case {
        name: "no_thread_starves",
        covers: &[Defect(14)],
        needs: &[],
        run: |context| {
            let name = context.name("x");
            let until = Instant::now() + Duration::from_millis(600);
            let work = || -> Outcome<u32> {
                let mut grants = 0;
                while Instant::now() < until {
                    let held = context.store().lock(&name).acquire_for(SOON)?;
                    grants += 1;
                    thread::sleep(Duration::from_micros(200));
                    held.release()?;
                }
                Ok(grants)
            };
            let grants = thread::scope(|scope| {
                let threads: Vec<_> = (0..8).map(|_| scope.spawn(work)).collect();
                let join = |thread: thread::ScopedJoinHandle<'_, Outcome<u32>>| {
                    thread.join().map_err(|_| Failure::new("a thread panicked"))?
                };
                threads.into_iter().map(join).collect::<Outcome<Vec<_>>>()
            })?;
            let (least, most) = (grants.iter().min().copied(), grants.iter().max().copied());
            ensure!(least >= Some(1), "grants {grants:?}");
            ensure!(most <= least.map(|least| least * 4 + 8), "grants {grants:?}");
            Ok(())
        },
    },
    Case {
        name: "a_waiter_gets_what_a_dropped_holder_leaves",
        covers: &[],
        needs: &[],
        run: |context| {
            let lock = context.store().lock(&context.name("x"));
            let held = lock.try_acquire()?;
            thread::scope(|scope| -> Outcome {
                let waiter = scope.spawn(|| lock.acquire_for(SOON));
                thread::sleep(SHORT / 8);
                drop(held);
                waiter.join().map_err(|_| Failure::new("the waiter panicked"))??.release()?;
                Ok(())
            })
        },
    },
];
