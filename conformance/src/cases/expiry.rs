//! Lifetimes: never shorter than asked, and over in the end.

use std::thread;
use std::time::Duration;

use tenure_core::{Cause, Kind, Moment};

use crate::case::cases;
use crate::ctx::{Ctx, SOON, denied, free_within, join, join_all, refused, taken_until};
use crate::failure::{Outcome, check};
use crate::subject::Options;

cases! {
    a_lease_ends_by_itself rows [15] defects [11] breaks [NeverExpires];
    a_lease_never_ends_early rows [15] defects [6] breaks [ExpiresEarly, TrustsClientClocks];
    a_waiter_gets_an_expired_lock_no_earlier_than_its_lease rows [15, 16]
        breaks [ExpiresEarly];
    a_lease_of_a_second_lasts_a_second_from_any_fraction_of_it rows [18] defects [6, 7]
        breaks [WholeSeconds];
    a_short_attempt_never_takes_a_held_lock rows [10] defects [6] breaks [ShortTtlSteals];
    a_lifetime_out_of_range_is_refused_and_stores_nothing rows [5] defects [6] breaks [IgnoresTheSettings];
    a_fixed_lease_is_not_renewed rows [15] breaks [NeverExpires];
    the_longest_lifetime_is_granted rows [15] breaks [CapsLongLeases];
}

fn a_lease_ends_by_itself(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    let held = lock.clone().ttl(ctx.ttl()).try_acquire()?;
    free_within(&lock, ctx.ttl() + SOON, "a name whose lease ends")?.release()?;
    drop(held);
    Ok(())
}

fn a_lease_never_ends_early(ctx: &Ctx) -> Outcome {
    let other = ctx.reopen()?;
    thread::scope(|scope| {
        let round = |index: u32| {
            let (lock, other) = (ctx.lock(), other.clone());
            let ttl = ctx.ttl() + ctx.ttl() * index / 16;
            scope.spawn(move || -> Outcome {
                let began = Moment::now();
                let held = lock.clone().ttl(ttl).try_acquire()?;
                let probe = other.lock(lock.name().as_str());
                taken_until(&probe, began + ttl, "a lease that has not ended")?;
                drop(held);
                Ok(())
            })
        };
        join_all((0..8).map(round).collect()).map(drop)
    })
}

fn a_waiter_gets_an_expired_lock_no_earlier_than_its_lease(ctx: &Ctx) -> Outcome {
    let other = ctx.reopen()?;
    for through in [&ctx.subject, &other] {
        let lock = ctx.lock();
        let began = Moment::now();
        let held = lock.clone().ttl(ctx.ttl()).try_acquire()?;
        let next = through.lock(lock.name().as_str()).acquire_for(ctx.ttl() + SOON)?;
        let waited = Moment::now().since(began);
        check!(waited >= ctx.ttl(), "expected a wait of at least {:?}, saw {waited:?}", ctx.ttl());
        next.release()?;
        drop(held);
    }
    Ok(())
}

fn a_lease_of_a_second_lasts_a_second_from_any_fraction_of_it(ctx: &Ctx) -> Outcome {
    thread::scope(|scope| {
        let round = |index: u32| {
            let lock = ctx.lock();
            scope.spawn(move || -> Outcome {
                let ttl = Duration::from_secs(1).max(ctx.ttl());
                crate::ctx::sleep_until(Moment::now() + Duration::from_millis(125) * index);
                let began = Moment::now();
                let held = lock.clone().ttl(ttl).try_acquire()?;
                taken_until(&lock, began + ttl, "a lease of a second")?;
                drop(held);
                free_within(&lock, SOON, "after a lease of a second")?.release()?;
                Ok(())
            })
        };
        join_all((0..8).map(round).collect()).map(drop)
    })
}

fn a_short_attempt_never_takes_a_held_lock(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    let held = lock.try_acquire()?;
    for millis in [10, 500, 999, 1000, 1500] {
        let attempt = lock.clone().ttl(Duration::from_millis(millis)).try_acquire();
        denied(attempt, "a short attempt on a held lock")?;
    }
    denied(lock.try_acquire(), "a held lock after short attempts")?;
    held.renew()?;
    held.release()?;
    Ok(())
}

fn a_lifetime_out_of_range_is_refused_and_stores_nothing(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    let longest = ctx.settings().max_ttl().get();
    for ttl in [Duration::ZERO, Duration::from_millis(9), longest + Duration::from_millis(1), Duration::MAX] {
        refused(lock.clone().ttl(ttl).try_acquire(), Kind::Misconfigured, "a lifetime out of range")?;
        refused(lock.clone().ttl(ttl).acquire(), Kind::Misconfigured, "a wait with such a lifetime")?;
    }
    let held = lock.try_acquire()?;
    refused(held.renew_for(Duration::ZERO), Kind::Misconfigured, "a renewal to nothing")?;
    refused(held.renew_for(longest * 2), Kind::Misconfigured, "a renewal beyond the limit")?;
    denied(lock.try_acquire(), "a lock after refused renewals")?;
    held.release()?;
    Ok(())
}

fn a_fixed_lease_is_not_renewed(ctx: &Ctx) -> Outcome {
    let subject = ctx.open_with(ctx.short_lease()?)?;
    let lock = subject.lock_with(ctx.name(), Options::ttl(ctx.ttl()));
    let held = lock.try_acquire()?;
    thread::scope(|scope| {
        let watched = scope.spawn(|| -> Outcome<_> { Ok(held.lost()) });
        let next = lock.acquire_for(ctx.ttl() + SOON)?;
        let cause = join(watched)?;
        check!(cause == Cause::Expired, "expected a loss by expiry, saw {cause:?}");
        next.release()?;
        Ok(())
    })
}

fn the_longest_lifetime_is_granted(ctx: &Ctx) -> Outcome {
    let longest = ctx.settings().max_ttl().get();
    let lock = ctx.lock().ttl(longest);
    let held = lock.try_acquire()?;
    let left = held.remaining().unwrap_or(longest);
    check!(left > longest / 10 * 9, "expected about {longest:?} left, saw {left:?}");
    denied(lock.try_acquire(), "a lock with the longest lifetime")?;
    held.release()?;
    lock.try_acquire()?.release()?;
    Ok(())
}
