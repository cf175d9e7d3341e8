//! Renewals by the holder: extending, shortening, and being refused.

use std::thread;
use std::time::Duration;

use tenure_core::{Kind, Moment, Status};

use crate::case::cases;
use crate::ctx::{Ctx, SOON, denied, free_within, join_all, refused, sleep_until, taken_until};
use crate::failure::{Outcome, check};

cases! {
    a_renewed_lock_outlives_its_first_lease rows [60, 61] breaks "answers a renewal and does nothing";
    a_renewal_never_shortens rows [64] breaks "sets the lock's own lifetime whatever is left";
    a_renewal_sets_a_longer_life rows [64] breaks "ignores the lifetime of a renewal";
    a_renewal_sets_a_shorter_life rows [64] breaks "takes the longer of two lifetimes";
    a_renewal_keeps_the_fence rows [60] breaks "makes a new grant of a renewal";
    a_renewal_after_expiry_says_lost rows [62, 63] breaks "renews what has ended";
    a_renewal_after_expiry_brings_nothing_back rows [62, 63] defects [21] breaks "writes the record of an expired holder again";
    a_late_renewal_never_extends_the_next_owner rows [62, 63] defects [21] breaks "renews without comparing the owner";
    a_renewal_at_the_moment_of_expiry_never_gives_two_owners rows [62] defects [21]
        breaks "compares the owner and renews in two steps";
    a_renewed_lock_still_ends rows [61] breaks "drops the lifetime at a renewal";
    a_released_name_is_not_renewed rows [62] breaks "lets a renewal under way bring a released lock back";
}

fn a_renewed_lock_outlives_its_first_lease(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    let held = lock.clone().ttl(ctx.ttl()).try_acquire()?;
    for _ in 0..6 {
        sleep_until(Moment::now() + ctx.ttl() / 3);
        let sent = Moment::now();
        held.renew()?;
        if Moment::now() < sent + ctx.ttl() / 2 {
            taken_until(&lock, Moment::now() + Duration::from_millis(5), "a renewed lock")?;
        }
    }
    let status = held.status();
    check!(status == Status::Held, "expected a renewed lock to be held, saw {status:?}");
    held.release()?;
    Ok(())
}

fn a_renewal_never_shortens(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    let held = lock.clone().ttl(ctx.ttl()).try_acquire()?;
    let began = Moment::now();
    held.renew_for(ctx.ttl() * 4)?;
    held.renew()?;
    let left = held.remaining().unwrap_or_default();
    check!(left > ctx.ttl() * 2, "expected most of {:?} left, saw {left:?}", ctx.ttl() * 4);
    taken_until(&lock, began + ctx.ttl() * 3, "a lock whose renewal must not shorten")?;
    drop(held);
    Ok(())
}

fn a_renewal_sets_a_longer_life(ctx: &Ctx) -> Outcome {
    let (lock, other) = (ctx.lock(), ctx.reopen()?);
    let held = lock.clone().ttl(ctx.ttl()).try_acquire()?;
    let began = Moment::now();
    held.renew_for(ctx.ttl() * 3)?;
    let other = other.lock(lock.name().as_str());
    taken_until(&other, began + ctx.ttl() * 3, "a lock with a longer life")?;
    drop(held);
    Ok(())
}

fn a_renewal_sets_a_shorter_life(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    let held = lock.clone().ttl(ctx.long()).try_acquire()?;
    let began = Moment::now();
    held.renew_for(ctx.ttl())?;
    taken_until(&lock, began + ctx.ttl(), "a lock with a shorter life")?;
    free_within(&lock, SOON, "a lock whose shorter life is over")?.release()?;
    refused(held.release(), Kind::Lost, "the release of a lock whose shorter life is over")?;
    Ok(())
}

fn a_renewal_keeps_the_fence(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock().ttl(ctx.long());
    let held = lock.try_acquire()?;
    let fence = held.fence();
    held.renew()?;
    held.renew_for(ctx.long() * 2)?;
    check!(held.fence() == fence, "expected fence {fence}, saw {}", held.fence());
    if let Some(inspect) = ctx.subject.store().inspect() {
        let seen = inspect.inspect(&lock.name())?.map(|holder| holder.fence());
        check!(seen == Some(fence), "expected fence {fence} in the store, saw {seen:?}");
    }
    held.release()?;
    Ok(())
}

fn a_renewal_after_expiry_says_lost(ctx: &Ctx) -> Outcome {
    let held = ctx.lock().ttl(ctx.ttl()).try_acquire()?;
    sleep_until(Moment::now() + ctx.ttl());
    refused(held.renew(), Kind::Lost, "a renewal after the lease")?;
    refused(held.renew_for(ctx.long()), Kind::Lost, "another one")?;
    refused(held.release(), Kind::Lost, "the release")?;
    Ok(())
}

fn a_renewal_after_expiry_brings_nothing_back(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    let held = lock.clone().ttl(ctx.ttl()).try_acquire()?;
    sleep_until(Moment::now() + ctx.ttl());
    drop(held.renew());
    drop(held.renew_for(ctx.long()));
    free_within(&lock, SOON, "a name whose owner came too late to renew")?.release()?;
    Ok(())
}

fn a_late_renewal_never_extends_the_next_owner(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    let late = lock.clone().ttl(ctx.ttl()).try_acquire()?;
    let next = lock.clone().ttl(ctx.ttl() * 2).acquire_for(ctx.ttl() + SOON)?;
    for _ in 0..5 {
        refused(late.renew(), Kind::Lost, "a renewal after another took the lock")?;
        refused(late.renew_for(ctx.long()), Kind::Lost, "a long renewal then")?;
    }
    free_within(&lock, ctx.ttl() * 2 + SOON, "the next owner's lock after its own lease")?.release()?;
    refused(next.release(), Kind::Lost, "the next owner's release after its lease")?;
    Ok(())
}

fn a_renewal_at_the_moment_of_expiry_never_gives_two_owners(ctx: &Ctx) -> Outcome {
    let other = ctx.reopen()?;
    thread::scope(|scope| {
        let round = |index: u64| {
            let (lock, other) = (ctx.lock(), other.clone());
            scope.spawn(move || -> Outcome {
                let held = lock.clone().ttl(ctx.ttl()).try_acquire()?;
                let deadline = held.deadline().unwrap_or(Moment::now());
                sleep_until(deadline - Duration::from_millis(3) + Duration::from_micros(100 * index));
                let renewed = held.renew_for(ctx.long()).is_ok();
                let next = other.lock(lock.name().as_str());
                if renewed {
                    denied(next.try_acquire(), "a lock renewed at the last moment")?;
                    held.release()?;
                } else {
                    // Nobody believes in it any more; the store's lease may last a moment longer.
                    free_within(&next, SOON, "a lock that was renewed too late")?.release()?;
                }
                Ok(())
            })
        };
        join_all((0..40).map(round).collect()).map(drop)
    })
}

fn a_renewed_lock_still_ends(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    let held = lock.clone().ttl(ctx.ttl()).try_acquire()?;
    held.renew()?;
    free_within(&lock, ctx.ttl() + SOON, "a renewed lock whose lease ended")?.release()?;
    drop(held);
    Ok(())
}

fn a_released_name_is_not_renewed(ctx: &Ctx) -> Outcome {
    // Kept alive on the shortest lease, so that renewals are under way when it is released.
    let subject = ctx.open_with(ctx.settings().with_lease(Duration::from_millis(30).max(ctx.ttl() / 8))?)?;
    let lock = ctx.lock();
    let kept = subject.lock(lock.name().as_str());
    for _ in 0..40 {
        let held = kept.acquire_for(SOON)?;
        sleep_until(Moment::now() + Duration::from_millis(8));
        match held.release() {
            Ok(()) => lock.try_acquire()?.release()?,
            // So short a lease may be lost on a busy machine.
            Err(error) if error.is_lost() => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
