//! Renewals by the holder: extending, shortening, and being refused.

use std::thread;
use std::time::Duration;

use tenure_core::{Kind, Moment, Status};

use crate::bare::Bare;
use crate::case::cases;
use crate::ctx::{Ctx, SOON, free_within, join, join_all, refused, sleep_until, taken_until};
use crate::driver::TestHeld;
use crate::failure::{Failure, Outcome, check};

cases! {
    a_renewed_lock_outlives_its_first_lease rows [60, 61] breaks [RenewsNothing];
    a_renewal_never_shortens rows [64] breaks [RenewShortens];
    a_renewal_sets_a_longer_life rows [64] breaks [RenewIgnoresTtl];
    a_renewal_sets_a_shorter_life rows [64] breaks [RenewTakesTheLonger];
    a_renewal_keeps_the_fence rows [60] breaks [RenewMovesTheFence];
    a_renewal_after_expiry_says_lost rows [62, 63] breaks [IgnoresTtl];
    a_renewal_after_expiry_brings_nothing_back rows [62, 63] defects [21] breaks [RenewsTheExpired];
    a_late_renewal_never_extends_the_next_owner rows [62, 63] defects [21] breaks [RenewsWithoutOwnerCheck];
    a_renewal_at_the_moment_of_expiry_never_gives_two_owners rows [62] defects [21]
        breaks [RenewsInTwoSteps];
    a_renewed_lock_still_ends rows [61] breaks [RenewDropsTheEnd];
    a_released_name_is_not_renewed rows [62] breaks [RenewsInTwoSteps];
    a_verification_changes_nothing rows [61] breaks [VerifyingExtends];
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
    let late = Bare::acquire(&ctx.subject, &ctx.name(), ctx.ttl())?;
    sleep_until(Moment::now() + ctx.ttl() + ctx.grain());
    refused(held.renew(), Kind::Lost, "a renewal after the lease")?;
    refused(held.renew_for(ctx.long()), Kind::Lost, "another one")?;
    refused(held.release(), Kind::Lost, "the release")?;
    refused(late.renew(ctx.long()), Kind::Lost, "a renewal that arrived after the lease")?;
    refused(late.verify(), Kind::Lost, "a look at a lease that has ended")?;
    Ok(())
}

fn a_renewal_after_expiry_brings_nothing_back(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    let late = Bare::acquire(&ctx.subject, lock.name().as_str(), ctx.ttl())?;
    sleep_until(Moment::now() + ctx.ttl() + ctx.grain());
    drop(late.renew(ctx.ttl()));
    drop(late.renew(ctx.long()));
    free_within(&lock, SOON, "a name whose owner came too late to renew")?.release()?;
    Ok(())
}

fn a_late_renewal_never_extends_the_next_owner(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    let late = Bare::acquire(&ctx.subject, lock.name().as_str(), ctx.ttl())?;
    let next = lock.clone().ttl(ctx.ttl() * 2).acquire_for(ctx.ttl() + SOON)?;
    for _ in 0..5 {
        refused(late.renew(ctx.ttl()), Kind::Lost, "a renewal after another took the lock")?;
        refused(late.renew(ctx.long()), Kind::Lost, "a long renewal then")?;
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
                let next = other.lock(lock.name().as_str());
                let held = lock.clone().ttl(ctx.ttl()).try_acquire()?;
                thread::scope(|scope| {
                    let waiter = scope.spawn(|| -> Outcome<(TestHeld, Moment)> {
                        let next = next.acquire_for(ctx.ttl() + SOON)?;
                        Ok((next, Moment::now()))
                    });
                    // The later the denser, up to 1 ms after the holder's own deadline; the store's lease
                    // ends a little later.
                    let latest = held.deadline().unwrap_or(Moment::now()) + Duration::from_millis(1);
                    sleep_until(latest - Duration::from_micros(25 * index * index));
                    let renewed = held.renew_for(ctx.long()).is_ok();
                    let believed = renewed.then(Moment::now);
                    let released = held.release();
                    if renewed {
                        released?;
                    }
                    let (next, granted) = join(waiter)?;
                    if let Some(believed) = believed {
                        check!(
                            granted >= believed,
                            "expected a renewed lock to be its owner's, saw it granted {:?} before",
                            believed.since(granted)
                        );
                    }
                    next.release()?;
                    Ok(())
                })
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
    // Kept alive on the shortest lease, and released around the third of it when it is renewed.
    let lease = Duration::from_millis(30).max(ctx.ttl() / 8);
    let subject = ctx.open_with(ctx.settings().with_lease(lease)?)?;
    let lock = ctx.lock();
    let kept = subject.lock(lock.name().as_str());
    let mut completed = 0;
    for round in 0..40 {
        let held = kept.acquire_for(SOON)?;
        sleep_until(Moment::now() + lease / 4 + lease / 120 * round);
        match held.release() {
            // So short a lease may be lost on a busy machine.
            Err(error) if error.is_lost() => continue,
            released => released?,
        }
        let next = lock.try_acquire()?;
        // Whatever was under way has arrived by then.
        thread::sleep(lease);
        if let Err(error) = next.renew() {
            return Err(Failure::unexpected("expected a released name to be the next owner's", &error));
        }
        next.release()?;
        completed += 1;
    }
    if completed == 0 {
        return Err(Failure::late("expected a lease that lasts until its release, saw none"));
    }
    Ok(())
}

fn a_verification_changes_nothing(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    let held = Bare::acquire(&ctx.subject, lock.name().as_str(), ctx.ttl())?;
    let began = Moment::now();
    loop {
        let passed = Moment::now().since(began);
        if let Err(error) = held.verify() {
            check!(error.is_lost(), "expected a grant or its loss, saw {error}");
            break;
        }
        check!(passed < ctx.ttl() * 2, "expected a lease to end that is looked at, saw it after {passed:?}");
        thread::sleep(Duration::from_millis(5));
    }
    free_within(&lock, SOON, "a lock whose lease ended while it was looked at")?.release()?;
    Ok(())
}
