//! Locks that are kept alive.

use std::thread;
use std::time::Duration;

use tenure_core::{Moment, Status};

use crate::case::cases;
use crate::ctx::{Ctx, SOON, denied, free_within, is_too_late, kept_until, sleep_until};
use crate::failure::{Outcome, check};

cases! {
    a_kept_lock_outlives_many_leases rows [60, 66] defects [10] breaks [RenewsNothing];
    a_fixed_lock_can_be_kept_alive_from_the_start rows [65, 66] breaks [RenewsNothing];
    a_held_lock_can_be_kept_alive_later rows [65, 66] breaks [RenewsNothing];
    a_set_lifetime_ends_keeping_alive rows [64, 65] breaks [RenewDropsTheEnd];
    a_kept_lock_is_free_after_its_release rows [7] breaks [ForgetsToFree];
    many_kept_locks_are_all_renewed rows [60] breaks [RenewsTheFirstOfMany];
}

fn a_kept_lock_outlives_many_leases(ctx: &Ctx) -> Outcome {
    let subject = ctx.open_with(ctx.short_lease()?)?;
    let (lock, probe) = (subject.lock(ctx.name()), ctx.subject.clone());
    let held = lock.try_acquire()?;
    let (fence, end) = (held.fence(), Moment::now() + ctx.ttl() * 5);
    let probe = probe.lock(lock.name().as_str());
    kept_until(&held, &probe, end)?;
    let status = held.status();
    check!(status == Status::Held, "expected a kept lock to be held, saw {status:?}");
    check!(held.fence() == fence, "expected fence {fence}, saw {}", held.fence());
    held.release()?;
    probe.try_acquire()?.release()?;
    Ok(())
}

fn a_fixed_lock_can_be_kept_alive_from_the_start(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    let held = lock.clone().ttl(ctx.ttl()).keep_alive().try_acquire()?;
    kept_until(&held, &lock, Moment::now() + ctx.ttl() * 3)?;
    held.release()?;
    Ok(())
}

fn a_held_lock_can_be_kept_alive_later(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    let held = lock.clone().ttl(ctx.ttl()).try_acquire()?;
    held.keep_alive();
    kept_until(&held, &lock, Moment::now() + ctx.ttl() * 3)?;
    held.release()?;
    Ok(())
}

fn a_set_lifetime_ends_keeping_alive(ctx: &Ctx) -> Outcome {
    let subject = ctx.open_with(ctx.short_lease()?)?;
    let lock = subject.lock(ctx.name());
    let held = lock.try_acquire()?;
    held.renew_for(ctx.ttl())?;
    free_within(&lock, ctx.ttl() + SOON, "a lock that is not kept alive any more")?.release()?;
    drop(held);
    let held = ctx.after_drop(&lock)?;
    held.renew_for(ctx.ttl())?;
    held.keep_alive();
    kept_until(&held, &lock, Moment::now() + ctx.ttl() * 3)?;
    held.release()?;
    Ok(())
}

fn a_kept_lock_is_free_after_its_release(ctx: &Ctx) -> Outcome {
    let subject = ctx.open_with(ctx.short_lease()?)?;
    let lock = subject.lock(ctx.name());
    let held = lock.try_acquire()?;
    sleep_until(Moment::now() + ctx.ttl());
    held.release()?;
    // Whatever was under way when it was released has arrived by then.
    thread::sleep(Duration::from_millis(50));
    lock.try_acquire()?.release()?;
    Ok(())
}

fn many_kept_locks_are_all_renewed(ctx: &Ctx) -> Outcome {
    let lease = ctx.ttl() * 2;
    let subject = ctx.open_with(ctx.settings().with_lease(lease)?)?;
    let locks: Vec<_> = (0..100).map(|_| subject.lock(ctx.name())).collect();
    let held = locks.iter().map(|lock| lock.try_acquire()).collect::<Result<Vec<_>, _>>()?;
    sleep_until(Moment::now() + lease * 2);
    for (lock, held) in locks.iter().zip(held) {
        denied(lock.try_acquire(), "one of many locks that are kept alive")
            .map_err(|failure| failure.late_if(is_too_late(&held)))?;
        held.release()?;
    }
    Ok(())
}
