//! Futures that are dropped before they are done.

use std::future::{Future, pending};
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use tenure_core::aio::{AnyBackend, Lock};
use tenure_core::{Kind, Moment};

use crate::case::cases;
use crate::ctx::{Ctx, SOON, refused};
use crate::driver::Awaited;
use crate::failure::{Failure, Outcome, check};

cases! {
    an_acquire_dropped_at_any_poll_leaves_nothing_behind defects [15] needs [Polled]
        breaks [KeepsTheAbandoned, SendsWhatWasDropped];
    a_waiter_dropped_at_any_poll_leaves_nothing_behind defects [15] needs [Polled]
        breaks [DeniedAttemptReserves];
    a_waiter_dropped_as_it_is_served_passes_the_lock_on defects [14] needs [Polled]
        breaks [RestsAfterRelease];
    a_release_dropped_at_any_poll_goes_on defects [12] needs [Polled]
        breaks [DropsTasks];
    a_renewal_dropped_at_any_poll_leaves_the_lock_held rows [60] needs [Polled]
        breaks [EndsWithTheFuture];
    work_under_guard_ends_with_the_lock rows [16] defects [10] needs [Polled]
        breaks [RoundsTtlUp];
    a_loss_reaches_a_task_that_waits_for_it rows [16] defects [10] needs [Polled]
        breaks [RoundsTtlUp];
}

/// No future of a store needs more polls than this to be done, if each finds some time passed.
const POLLS: u32 = 40;

/// Polls a future some times, and drops it unless it is done.
fn poll_times<T>(times: u32, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    for poll in 0..times {
        if poll > 0 {
            // What the store does meanwhile in other threads needs some time.
            thread::sleep(Duration::from_millis(1));
        }
        if let Poll::Ready(done) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return Some(done);
        }
    }
    None
}

fn lock(awaited: &Awaited, name: &str) -> Lock<AnyBackend> {
    Lock::new(awaited.store(), name)
}

fn an_acquire_dropped_at_any_poll_leaves_nothing_behind(ctx: &Ctx) -> Outcome {
    let awaited = ctx.subject.awaited();
    let mut tried = Vec::new();
    for times in 1..POLLS {
        for waits in [false, true] {
            let test = ctx.lock();
            let lock = lock(awaited, test.name().as_str());
            let done = awaited.within(|| match waits {
                false => poll_times(times, lock.try_acquire()),
                true => poll_times(times, lock.acquire()),
            });
            let ended = done.is_some();
            if let Some(held) = done {
                awaited.run(held?.release())?;
            }
            ctx.after_drop(&test)?.release()?;
            tried.push(test);
            if ended && waits {
                // Nor does anything arrive later.
                thread::sleep(Duration::from_millis(50));
                return tried.iter().try_for_each(|test| Ok(ctx.after_drop(test)?.release()?));
            }
        }
    }
    Err(Failure::new(format!("expected an acquire to be done within {POLLS} polls, saw none")))
}

fn a_waiter_dropped_at_any_poll_leaves_nothing_behind(ctx: &Ctx) -> Outcome {
    let awaited = ctx.subject.awaited();
    let other = ctx.reopen()?;
    for times in 1..12 {
        let test = ctx.lock();
        let lock = lock(awaited, test.name().as_str());
        let holder = other.lock(test.name().as_str()).try_acquire()?;
        let done = awaited.within(|| poll_times(times, lock.acquire()));
        check!(done.is_none(), "expected a wait for a held lock, saw {done:?}");
        holder.release()?;
        ctx.after_drop(&test)?.release()?;
    }
    Ok(())
}

fn a_waiter_dropped_as_it_is_served_passes_the_lock_on(ctx: &Ctx) -> Outcome {
    let awaited = ctx.subject.awaited();
    for times in [2, 4, 8] {
        let test = ctx.lock();
        let lock = lock(awaited, test.name().as_str());
        let holder = test.try_acquire()?;
        thread::scope(|scope| {
            let mut served = Box::pin(lock.acquire());
            awaited.within(|| {
                for _ in 0..times {
                    let seen = served.as_mut().poll(&mut Context::from_waker(Waker::noop()));
                    check!(seen.is_pending(), "expected a wait for a held lock, saw {seen:?}");
                    thread::sleep(Duration::from_millis(1));
                }
                Ok(())
            })?;
            let next = scope.spawn(|| -> Outcome<Moment> {
                test.acquire_for(SOON)?.release()?;
                Ok(Moment::now())
            });
            thread::sleep(Duration::from_millis(20));
            let released = Moment::now();
            holder.release()?;
            // Served by now, or on the way; its task is gone and never looks.
            drop(served);
            let waited = crate::ctx::join(next)?.since(released);
            let limit = ctx.settings().recheck() * 2 / 5;
            check!(waited < limit, "expected the next waiter soon, saw it after {waited:?}");
            Ok(())
        })?;
    }
    Ok(())
}

fn a_release_dropped_at_any_poll_goes_on(ctx: &Ctx) -> Outcome {
    let awaited = ctx.subject.awaited();
    for times in 0..POLLS {
        let test = ctx.lock().ttl(ctx.long());
        let held = awaited.run(lock(awaited, test.name().as_str()).ttl(ctx.long()).try_acquire())?;
        let done = awaited.within(|| poll_times(times, held.release()));
        ctx.after_drop(&test)?.release()?;
        if let Some(done) = done {
            return Ok(done?);
        }
    }
    Err(Failure::new(format!("expected a release to be done within {POLLS} polls, saw none")))
}

fn a_renewal_dropped_at_any_poll_leaves_the_lock_held(ctx: &Ctx) -> Outcome {
    let awaited = ctx.subject.awaited();
    for times in 0..POLLS {
        let test = ctx.lock();
        let held = awaited.run(lock(awaited, test.name().as_str()).ttl(ctx.long()).try_acquire())?;
        let done = awaited.within(|| poll_times(times, held.renew()));
        crate::ctx::denied(test.try_acquire(), "a lock whose renewal was dropped")?;
        check!(held.is_held(), "expected the lock to be believed in, saw {:?}", held.status());
        awaited.run(held.renew())?;
        awaited.run(held.release())?;
        test.try_acquire()?.release()?;
        if let Some(done) = done {
            return Ok(done?);
        }
    }
    Err(Failure::new(format!("expected a renewal to be done within {POLLS} polls, saw none")))
}

fn work_under_guard_ends_with_the_lock(ctx: &Ctx) -> Outcome {
    let awaited = ctx.subject.awaited();
    let held = awaited.run(lock(awaited, &ctx.name()).ttl(ctx.ttl()).acquire())?;
    let seven = awaited.run(held.guarded(async { 7 }))?;
    check!(seven == 7, "expected the work's own result, saw {seven}");
    let began = Moment::now();
    refused(awaited.run(held.guarded(pending::<()>())), Kind::Lost, "work that outlives the lease")?;
    let took = Moment::now().since(began);
    check!(took <= ctx.ttl() + SOON, "expected the work to end with the lease, saw it end after {took:?}");
    refused(awaited.run(held.release()), Kind::Lost, "a release after that")?;
    Ok(())
}

fn a_loss_reaches_a_task_that_waits_for_it(ctx: &Ctx) -> Outcome {
    let awaited = ctx.subject.awaited();
    let held = awaited.run(lock(awaited, &ctx.name()).ttl(ctx.ttl()).acquire())?;
    let dropped = awaited.within(|| poll_times(2, held.lost()));
    check!(dropped.is_none(), "expected no loss of a fresh lock, saw {dropped:?}");
    let began = Moment::now();
    let cause = awaited.run(held.lost());
    let took = Moment::now().since(began);
    check!(took <= ctx.ttl() + SOON, "expected to be told at the end of the lease, was after {took:?}");
    check!(cause == tenure_core::Cause::Expired, "expected a lease that expired, saw {cause:?}");
    Ok(())
}
