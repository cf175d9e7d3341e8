//! Names that stay taken for a time although their lock was released.

use tenure_core::{Kind, Moment};

use crate::case::cases;
use crate::ctx::{Ctx, SOON, free_within, refused, taken_until};
use crate::failure::{Outcome, check};
use crate::subject::Options;

cases! {
    a_released_name_stays_taken_as_long_as_was_asked breaks [ReleaseIgnoresKeep];
    a_dropped_name_stays_taken_as_long_as_was_asked breaks [ReleaseIgnoresKeep];
    a_kept_name_opens_afterwards breaks [KeepsToTheEndOfTheLease];
    a_waiter_gets_a_kept_name breaks [ReleaseIgnoresKeep];
    a_time_that_is_over_keeps_nothing breaks [ForgetsToFree];
    a_time_beyond_the_limit_is_refused breaks [IgnoresTheSettings];
    a_kept_name_has_no_owner_to_restore needs [Restore] breaks [KeepLeavesTheToken];
    a_name_is_kept_when_its_process_ends needs [Processes] breaks [KeepEndsWithTheProcess];
    a_crash_keeps_no_name defects [11] needs [Processes] breaks [NeverExpires];
}

fn a_released_name_stays_taken_as_long_as_was_asked(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    let began = Moment::now();
    lock.clone().hold_at_least(ctx.ttl()).try_acquire()?.release()?;
    taken_until(&lock, began + ctx.ttl(), "a released name that is to stay taken")
}

fn a_dropped_name_stays_taken_as_long_as_was_asked(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    let began = Moment::now();
    drop(lock.clone().hold_at_least(ctx.ttl()).try_acquire()?);
    taken_until(&lock, began + ctx.ttl(), "a dropped name that is to stay taken")
}

fn a_kept_name_opens_afterwards(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    let first = lock.clone().ttl(ctx.long()).hold_at_least(ctx.ttl()).try_acquire()?;
    let fence = first.fence();
    first.release()?;
    let next = free_within(&lock, ctx.ttl() + SOON, "a name that was to stay taken for a while")?;
    check!(next.fence() > fence, "expected a fence above {fence}, saw {}", next.fence());
    next.release()?;
    Ok(())
}

fn a_waiter_gets_a_kept_name(ctx: &Ctx) -> Outcome {
    let (lock, other) = (ctx.lock(), ctx.reopen()?);
    for through in [&ctx.subject, &other] {
        let began = Moment::now();
        lock.clone().hold_at_least(ctx.ttl()).acquire_for(SOON)?.release()?;
        let next = through.lock(lock.name().as_str()).acquire_for(ctx.ttl() + SOON)?;
        let waited = Moment::now().since(began);
        check!(waited >= ctx.ttl(), "expected a wait of at least {:?}, saw {waited:?}", ctx.ttl());
        next.release()?;
    }
    Ok(())
}

fn a_time_that_is_over_keeps_nothing(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    let held = lock.clone().hold_at_least(ctx.ttl()).try_acquire()?;
    crate::ctx::sleep_until(Moment::now() + ctx.ttl());
    held.release()?;
    lock.try_acquire()?.release()?;
    Ok(())
}

fn a_time_beyond_the_limit_is_refused(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    let long = lock.clone().hold_at_least(ctx.settings().max_ttl().get() * 2);
    refused(long.try_acquire(), Kind::Misconfigured, "a name to be kept beyond the limit")?;
    lock.try_acquire()?.release()?;
    Ok(())
}

fn a_kept_name_has_no_owner_to_restore(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    let held = lock.clone().hold_at_least(ctx.long()).try_acquire()?;
    let owner = held.owner();
    held.release()?;
    refused(lock.restore(owner), Kind::Lost, "restoring a lock that was released")?;
    Ok(())
}

fn a_name_is_kept_when_its_process_ends(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    let least = ctx.ttl() * 3;
    let options = Options { hold_at_least: Some(least), ..Options::default() };
    let mut agent = ctx.agent()?;
    let began = Moment::now();
    agent.take(lock.name().as_str(), &options)?;
    agent.release(lock.name().as_str())?.done()?;
    agent.exit()?;
    taken_until(&lock, began + least, "a name whose process ended after its release")?;
    free_within(&lock, least + SOON, "such a name afterwards")?.release()?;
    Ok(())
}

fn a_crash_keeps_no_name(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    let options = Options { hold_at_least: Some(ctx.long()), ..Options::ttl(ctx.ttl() * 2) };
    let mut agent = ctx.agent()?;
    agent.take(lock.name().as_str(), &options)?;
    agent.kill()?;
    free_within(&lock, ctx.ttl() * 2 + SOON, "the name of a killed process")?.release()?;
    Ok(())
}
