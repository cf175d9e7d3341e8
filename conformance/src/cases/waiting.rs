//! Waiting: until it is free, no longer than asked, and in order.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use tenure_core::{Kind, Moment};

use crate::agent::{Agent, Command, Turn, Wait};
use crate::case::cases;
use crate::ctx::{Ctx, SOON, denied, free_within, join, join_all, refused, sleep_until};
use crate::driver::TestHeld;
use crate::failure::{Failure, Outcome, check};
use crate::subject::{Options, TestLock};

cases! {
    a_waiter_gets_a_released_lock rows [8] defects [14] breaks [RestsAfterRelease, HandsOnToNobody];
    a_waiter_without_a_limit_gets_a_released_lock rows [8] breaks [RestsAfterRelease];
    a_waiter_of_another_handle_gets_a_released_lock rows [8] defects [14] breaks [NeverNotifies];
    a_hand_over_is_quicker_than_polling defects [14] breaks [NotifiesLate, CannotNotify];
    a_hand_over_between_processes_is_quicker_than_polling rows [39] defects [14] needs [Processes]
        breaks [CannotNotify];
    a_waiter_of_another_process_gets_a_released_lock rows [39] defects [14] needs [Processes]
        breaks [NeverNotifies];
    a_bounded_wait_ends_after_its_limit_and_soon rows [19, 20] defects [14] breaks [BlocksWhileHeld];
    a_wait_without_time_asks_once rows [19] breaks [GrantsNothing];
    a_past_deadline_asks_once rows [19] breaks [GrantsNothing];
    a_timeout_says_that_this_process_holds_it rows [19] breaks [HidesThePlace];
    many_waiters_end_at_their_limits rows [19, 20] defects [14] breaks [AnswersLate];
    waiters_of_one_process_are_served_in_order breaks [ServesTheLastFirst];
    a_waiter_that_gave_up_swallows_no_wake_up breaks [GrantsTheGone];
    a_waiter_that_gave_up_takes_nothing breaks [DeniedAttemptReserves];
    a_timeout_at_the_moment_of_release_leaves_no_ghost breaks [GrantsTheGone];
    a_waiter_gets_a_lock_whose_life_was_shortened rows [64] breaks [ShortensInSilence];
    a_wait_leaves_other_names_alone rows [6] breaks [OneLockForAll];
    no_thread_starves defects [14] breaks [ServesTheLastFirst];
    two_handles_share_a_busy_lock defects [14] breaks [NeverNotifies];
    a_process_full_of_waiters_does_not_starve_another defects [14] needs [Processes]
        breaks [PrefersWhoeverReleased];
    processes_share_a_busy_lock defects [14] needs [Processes] breaks [PrefersWhoeverReleased];
}

fn a_waiter_gets_a_released_lock(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    hand_off(ctx, &|| lock.acquire_for(SOON), &lock)
}

fn a_waiter_without_a_limit_gets_a_released_lock(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    hand_off(ctx, &|| lock.acquire(), &lock)
}

fn a_waiter_of_another_handle_gets_a_released_lock(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    let other = ctx.reopen()?.lock(lock.name().as_str());
    hand_off(ctx, &|| other.acquire_for(SOON), &lock)
}

type Waiting<'a> = dyn Fn() -> tenure_core::Result<TestHeld> + Sync + 'a;

/// Releases a lock that somebody waits for, who must not have it before and has it soon after.
fn hand_off(ctx: &Ctx, wait: &Waiting<'_>, lock: &TestLock) -> Outcome {
    for _ in 0..5 {
        let held = lock.try_acquire()?;
        thread::scope(|scope| {
            let waiter = scope.spawn(|| -> Outcome<Moment> {
                let next = wait()?;
                let moment = Moment::now();
                next.release()?;
                Ok(moment)
            });
            sleep_until(Moment::now() + Duration::from_millis(30));
            let released = Moment::now();
            held.release()?;
            let granted = join(waiter)?;
            check!(granted >= released, "expected the lock after its release, saw it before");
            let waited = granted.since(released);
            let limit = ctx.settings().recheck() * 2 / 5;
            check!(waited < limit, "expected the lock soon after its release, saw it after {waited:?}");
            Ok(())
        })?;
    }
    Ok(())
}

/// Half of what polling every 100 ms takes, in the middle of many, because the machine may be busy.
const QUICK: Duration = Duration::from_millis(45);

fn quick(mut times: Vec<Duration>) -> Outcome {
    times.sort_unstable();
    let median = times[times.len() / 2];
    check!(median < QUICK, "expected a median hand-over below {QUICK:?}, saw {median:?}");
    Ok(())
}

fn a_hand_over_is_quicker_than_polling(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    let other = ctx.reopen()?.lock(lock.name().as_str());
    let round = |_| -> Outcome<Duration> {
        let held = lock.acquire_for(SOON)?;
        thread::scope(|scope| {
            let waiter = scope.spawn(|| -> Outcome<Moment> {
                let held = other.acquire_for(SOON)?;
                let moment = Moment::now();
                held.release()?;
                Ok(moment)
            });
            sleep_until(Moment::now() + Duration::from_millis(8));
            let released = Moment::now();
            held.release()?;
            Ok(join(waiter)?.since(released))
        })
    };
    quick((0..21).map(round).collect::<Outcome<_>>()?)
}

fn a_hand_over_between_processes_is_quicker_than_polling(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    let (name, mut agent) = (lock.name(), ctx.agent()?);
    let round = |_| -> Outcome<Duration> {
        let held = lock.acquire_for(SOON)?;
        let (name, options) = (name.to_string(), Options::default());
        agent.send(&Command::Acquire { name, options, wait: Wait::For(SOON) })?;
        sleep_until(Moment::now() + Duration::from_millis(15));
        let released = Moment::now();
        held.release()?;
        agent.answer()?.taken()?;
        let took = Moment::now().since(released);
        agent.release(lock.name().as_str())?.done()?;
        Ok(took)
    };
    quick((0..21).map(round).collect::<Outcome<_>>()?)
}

fn a_waiter_of_another_process_gets_a_released_lock(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    let (name, mut agent) = (lock.name(), ctx.agent()?);
    for _ in 0..5 {
        let held = lock.try_acquire()?;
        agent.send(&Command::Acquire {
            name: name.to_string(),
            options: Options::default(),
            wait: Wait::For(SOON),
        })?;
        sleep_until(Moment::now() + Duration::from_millis(30));
        let (fence, released) = (held.fence(), Moment::now());
        held.release()?;
        let taken = agent.answer()?.taken()?;
        let waited = Moment::now().since(released);
        check!(taken.fence > fence, "expected a fence above {fence}, saw {}", taken.fence);
        let limit = ctx.settings().recheck() * 2 / 5;
        check!(waited < limit, "expected the lock soon after its release, saw it after {waited:?}");
        agent.release(name.as_str())?.done()?;
    }
    Ok(())
}

fn a_bounded_wait_ends_after_its_limit_and_soon(ctx: &Ctx) -> Outcome {
    let (lock, other) = (ctx.lock(), ctx.reopen()?);
    let held = lock.try_acquire()?;
    let other = other.lock(lock.name().as_str());
    for waiter in [&lock, &other] {
        let mut best = Duration::MAX;
        for limit in [120, 35, 250, 60, 90].map(Duration::from_millis) {
            let began = Moment::now();
            refused(waiter.acquire_for(limit), Kind::TimedOut, "a wait for a held lock")?;
            let waited = Moment::now().since(began);
            check!(waited >= limit, "expected a wait of {limit:?}, saw {waited:?}");
            best = best.min(waited - limit);
        }
        // The best of several, because the machine may be busy with other cases.
        check!(
            best < Duration::from_millis(100),
            "expected an end soon after the limit, saw {best:?} at best"
        );
    }
    held.release()?;
    Ok(())
}

fn a_wait_without_time_asks_once(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    let held = lock.acquire_for(Duration::ZERO)?;
    let began = Moment::now();
    refused(lock.acquire_for(Duration::ZERO), Kind::TimedOut, "a wait without time")?;
    let waited = Moment::now().since(began);
    check!(waited < Duration::from_secs(2), "expected an answer at once, saw it after {waited:?}");
    held.release()?;
    Ok(())
}

fn a_past_deadline_asks_once(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    let past = Moment::now() - Duration::from_secs(1);
    let held = lock.acquire_until(past)?;
    refused(lock.acquire_until(past), Kind::TimedOut, "a deadline in the past")?;
    held.release()?;
    Ok(())
}

fn a_timeout_says_that_this_process_holds_it(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    let held = lock.try_acquire()?;
    let error = refused(lock.acquire_for(Duration::from_millis(30)), Kind::TimedOut, "a wait for oneself")?;
    let text = error.to_string();
    check!(text.contains("this very process"), "expected word of a wait for oneself, saw {text:?}");
    held.release()?;
    Ok(())
}

fn many_waiters_end_at_their_limits(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    let held = lock.try_acquire()?;
    thread::scope(|scope| {
        let waiter = |_| {
            scope.spawn(|| -> Outcome {
                let (began, limit) = (Moment::now(), Duration::from_millis(200));
                refused(lock.acquire_for(limit), Kind::TimedOut, "one of many waiters")?;
                let waited = Moment::now().since(began);
                check!(waited >= limit, "expected a wait of {limit:?}, saw {waited:?}");
                check!(waited < limit * 10, "expected an end after {limit:?}, saw it after {waited:?}");
                Ok(())
            })
        };
        join_all((0..50).map(waiter).collect())
    })?;
    held.release()?;
    lock.try_acquire()?.release()?;
    Ok(())
}

fn waiters_of_one_process_are_served_in_order(ctx: &Ctx) -> Outcome {
    // The start of a wait cannot be seen from outside; a busy machine may start two of them late.
    let mut served = Vec::new();
    for _ in 0..4 {
        let lock = ctx.lock();
        let held = lock.try_acquire()?;
        let order: Mutex<Vec<u32>> = Mutex::default();
        thread::scope(|scope| {
            let waiter = |index: u32| {
                let (lock, order) = (&lock, &order);
                let thread = scope.spawn(move || -> Outcome {
                    let held = lock.acquire_for(Duration::from_secs(30))?;
                    order.lock().unwrap_or_else(PoisonError::into_inner).push(index);
                    held.release()?;
                    Ok(())
                });
                sleep_until(Moment::now() + Duration::from_millis(25));
                thread
            };
            let waiters = (0..8).map(waiter).collect();
            held.release()?;
            join_all(waiters)
        })?;
        served = order.into_inner().unwrap_or_else(PoisonError::into_inner);
        if served.is_sorted() {
            return Ok(());
        }
    }
    Err(Failure::new(format!("expected waiters in the order of their arrival, saw {served:?}")))
}

fn a_waiter_that_gave_up_swallows_no_wake_up(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    for _ in 0..3 {
        let held = lock.try_acquire()?;
        thread::scope(|scope| {
            let short =
                scope.spawn(|| refused(lock.acquire_for(Duration::from_millis(60)), Kind::TimedOut, "short"));
            sleep_until(Moment::now() + Duration::from_millis(20));
            let long = scope.spawn(|| -> Outcome<Moment> {
                lock.acquire_for(SOON)?.release()?;
                Ok(Moment::now())
            });
            join(short)?;
            let released = Moment::now();
            held.release()?;
            let waited = join(long)?.since(released);
            let limit = ctx.settings().recheck() * 2 / 5;
            check!(
                waited < limit,
                "expected the next waiter soon after the release, saw it after {waited:?}"
            );
            Ok(())
        })?;
    }
    Ok(())
}

fn a_waiter_that_gave_up_takes_nothing(ctx: &Ctx) -> Outcome {
    let (lock, other) = (ctx.lock(), ctx.reopen()?);
    let other = other.lock(lock.name().as_str());
    let held = lock.try_acquire()?;
    for waiter in [&lock, &other, &lock, &other] {
        refused(waiter.acquire_for(Duration::from_millis(20)), Kind::TimedOut, "a short wait")?;
    }
    held.release()?;
    for lock in [&lock, &other, &lock, &other] {
        // What was given up may be cleared in the background.
        free_within(lock, Duration::from_secs(2), "a name that some gave up")?.release()?;
    }
    Ok(())
}

fn a_timeout_at_the_moment_of_release_leaves_no_ghost(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    let other = ctx.reopen()?.lock(lock.name().as_str());
    for round in 0..60_u64 {
        let waiter = if round % 2 == 0 { &lock } else { &other };
        let held = free_within(&lock, Duration::from_secs(2), "a name after a wait that was given up")?;
        thread::scope(|scope| {
            let began = Moment::now();
            let waiter = scope.spawn(|| -> Outcome {
                match waiter.acquire_for(Duration::from_millis(10)) {
                    Ok(held) => Ok(held.release()?),
                    Err(error) if error.is_timed_out() => Ok(()),
                    Err(error) => Err(error.into()),
                }
            });
            // From 3 ms before the waiter's limit to 3 ms after it.
            sleep_until(began + Duration::from_millis(7) + Duration::from_micros(100 * round));
            held.release()?;
            join(waiter)
        })?;
    }
    free_within(&lock, Duration::from_secs(2), "a name after waits that were given up")?.release()?;
    Ok(())
}

fn a_waiter_gets_a_lock_whose_life_was_shortened(ctx: &Ctx) -> Outcome {
    let (lock, other) = (ctx.lock(), ctx.reopen()?);
    for through in [&ctx.subject, &other] {
        let held = lock.clone().ttl(ctx.long()).acquire_for(SOON)?;
        thread::scope(|scope| {
            let waiter = scope.spawn(|| -> Outcome {
                Ok(through.lock(lock.name().as_str()).acquire_for(ctx.ttl() + SOON)?.release()?)
            });
            // It waits for the end that it was told by then.
            sleep_until(Moment::now() + Duration::from_millis(30));
            held.renew_for(ctx.ttl())?;
            join(waiter)
        })?;
    }
    Ok(())
}

fn a_wait_leaves_other_names_alone(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    let held = lock.try_acquire()?;
    thread::scope(|scope| {
        let waiter = scope.spawn(|| -> Outcome { Ok(lock.acquire_for(SOON)?.release()?) });
        for _ in 0..20 {
            ctx.lock().acquire_for(Duration::from_secs(2))?.release()?;
        }
        denied(lock.try_acquire(), "a held lock that somebody waits for")?;
        held.release()?;
        join(waiter)
    })
}

fn no_thread_starves(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    let counts = compete(&[lock.clone(), lock.clone(), lock.clone(), lock])?;
    shared(&counts)?;
    // Within one process they stand in one line.
    let (least, most) = (counts.iter().min(), counts.iter().max());
    let even = least.zip(most).is_some_and(|(least, most)| *most <= *least * 4 + 8);
    check!(even, "expected threads to take turns, saw grants of {counts:?}");
    Ok(())
}

fn two_handles_share_a_busy_lock(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    let other = ctx.reopen()?.lock(lock.name().as_str());
    shared(&compete(&[lock.clone(), other.clone(), lock, other])?)
}

/// How often each of some threads gets a lock within a time.
fn compete(locks: &[TestLock]) -> Outcome<Vec<u64>> {
    let end = Moment::now() + Duration::from_millis(1200);
    let compete = |lock: &TestLock| -> Outcome<u64> {
        let mut count = 0;
        while Moment::now() < end {
            match lock.acquire_until(end) {
                Ok(held) => {
                    count += 1;
                    thread::sleep(Duration::from_millis(1));
                    held.release()?;
                }
                Err(error) if error.is_timed_out() => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(count)
    };
    thread::scope(|scope| join_all(locks.iter().map(|lock| scope.spawn(|| compete(lock))).collect()))
}

fn a_process_full_of_waiters_does_not_starve_another(ctx: &Ctx) -> Outcome {
    let (lock, mut agent) = (ctx.lock(), ctx.agent()?);
    let (over, ours) = (AtomicBool::new(false), AtomicU32::new(0));
    // Six waiters to one, and a step back after sixteen: far from twenty to one.
    let far = 20 * 20;
    let work = || -> Outcome {
        while !over.load(Ordering::SeqCst) && ours.load(Ordering::SeqCst) < far {
            let held = lock.acquire_for(SOON)?;
            ours.fetch_add(1, Ordering::SeqCst);
            thread::sleep(Duration::from_micros(100));
            held.release()?;
        }
        Ok(())
    };
    thread::scope(|scope| {
        let threads = (0..6).map(|_| scope.spawn(work)).collect();
        let (name, counter) = (lock.name().to_string(), ctx.file("counter"));
        let answer = agent.ask(&Command::Hammer { name, counter, rounds: 20 });
        over.store(true, Ordering::SeqCst);
        join_all(threads)?;
        answer?.fences()
    })?;
    let ours = ours.into_inner();
    check!(ours < far, "expected the other process to get its turns, saw {ours} grants here to its 20");
    Ok(())
}

fn processes_share_a_busy_lock(ctx: &Ctx) -> Outcome {
    let name = ctx.name();
    let mut agents: Vec<Agent> = (0..3).map(|_| ctx.agent()).collect::<Outcome<_>>()?;
    for agent in &mut agents {
        agent.send(&Command::Compete { name: name.clone(), time: Duration::from_secs(2) })?;
    }
    let turns = agents.iter_mut().map(|agent| agent.answer()?.turns()).collect::<Outcome<Vec<_>>>()?;
    let counts: Vec<_> = turns.iter().map(|turns| turns.len() as u64).collect();
    shared(&counts)?;
    let (row, run) = (longest_row(&turns, REST), longest_row(&turns, Duration::MAX));
    if row > ROW {
        // Those who wait may not have been seen to, on a machine that is too busy for them to say so.
        return Err(Failure::late(format!(
            "expected a step back after sixteen grants, saw {row} without one"
        )));
    }
    // A busy machine may let some of them pass.
    check!(run < 100, "expected processes to let each other go first, saw {run} grants in a row of one");
    Ok(())
}

/// How many grants a process takes in a row without a step back.
const ROW: usize = 16;

/// How long it steps back, at least.
const REST: Duration = Duration::from_millis(2);

/// How often one of several got a lock in a row, without a pause of this length; while all of them were
/// there.
fn longest_row(turns: &[Vec<Turn>], rest: Duration) -> usize {
    let first = turns.iter().filter_map(|turns| turns.first()).map(|turn| turn.fence).max();
    let last = turns.iter().filter_map(|turns| turns.last()).map(|turn| turn.fence).min();
    let contested = first.unwrap_or_default()..=last.unwrap_or_default();
    let of_one =
        |(who, turns): (usize, &Vec<Turn>)| turns.iter().map(|turn| (who, *turn)).collect::<Vec<_>>();
    let mut order: Vec<_> = turns.iter().enumerate().flat_map(of_one).collect();
    order.retain(|(_, turn)| contested.contains(&turn.fence));
    order.sort_unstable_by_key(|(_, turn)| turn.fence);
    let goes_on = |(who, turn): &(usize, Turn), (next_who, next): &(usize, Turn)| {
        who == next_who && u128::from(next.since.saturating_sub(turn.until)) < rest.as_nanos()
    };
    order.chunk_by(goes_on).map(<[_]>::len).max().unwrap_or_default()
}

/// Nobody starves. How evenly they share depends on the store and is measured elsewhere.
fn shared(counts: &[u64]) -> Outcome {
    let (least, sum) = (counts.iter().min().copied().unwrap_or_default(), counts.iter().sum::<u64>());
    let share = sum / (counts.len() as u64 * 20);
    check!(least > 0 && least >= share, "expected nobody to starve, saw grants of {counts:?}");
    Ok(())
}
