//! Ownership is a value; threads do not matter.

use std::thread;

use crate::case::cases;
use crate::ctx::{Ctx, denied, join};
use crate::failure::Outcome;

cases! {
    a_held_lock_is_released_by_another_thread rows [36, 37, 38] breaks [ThreadIsTheOwner];
    a_held_lock_is_renewed_by_another_thread rows [36, 37] breaks [ThreadIsTheOwner];
    the_end_of_a_thread_frees_nothing rows [36] breaks [EndsWithTheThread];
    the_acquiring_thread_is_denied_like_any_other rows [4, 37, 38] breaks [ReentrantByThread];
    other_handles_own_nothing rows [34, 35] breaks [ReentrantByProcess];
}

fn a_held_lock_is_released_by_another_thread(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    let held = lock.try_acquire()?;
    thread::scope(|scope| join(scope.spawn(|| -> Outcome { Ok(held.release()?) })))?;
    lock.try_acquire()?.release()?;
    Ok(())
}

fn a_held_lock_is_renewed_by_another_thread(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock().ttl(ctx.long());
    let held = lock.try_acquire()?;
    thread::scope(|scope| join(scope.spawn(|| -> Outcome { Ok(held.renew()?) })))?;
    held.release()?;
    Ok(())
}

fn the_end_of_a_thread_frees_nothing(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    let held = thread::scope(|scope| join(scope.spawn(|| -> Outcome<_> { Ok(lock.try_acquire()?) })))?;
    denied(lock.try_acquire(), "a lock whose acquiring thread has ended")?;
    held.renew()?;
    held.release()?;
    lock.try_acquire()?.release()?;
    Ok(())
}

fn the_acquiring_thread_is_denied_like_any_other(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    let held = lock.try_acquire()?;
    denied(lock.try_acquire(), "the thread that acquired it")?;
    let elsewhere = thread::scope(|scope| scope.spawn(|| lock.try_acquire()).join());
    if let Ok(answer) = elsewhere {
        denied(answer, "another thread")?;
    }
    held.release()?;
    Ok(())
}

fn other_handles_own_nothing(ctx: &Ctx) -> Outcome {
    let (lock, other) = (ctx.lock(), ctx.reopen()?);
    let held = lock.try_acquire()?;
    let again = other.lock(lock.name().as_str());
    denied(again.try_acquire(), "another handle")?;
    drop((again, other));
    denied(lock.try_acquire(), "a lock after another handle ended")?;
    held.renew()?;
    held.release()?;
    Ok(())
}
