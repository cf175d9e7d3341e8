//! One holder at a time, and contention as an answer.

use std::time::Duration;

use tenure_core::{Moment, Status};

use crate::bare::abandon_a_stranger;
use crate::case::cases;
use crate::ctx::{Ctx, SOON, denied};
use crate::failure::{Outcome, check};

cases! {
    a_free_name_is_granted rows [3] breaks [GrantsNothing];
    a_wait_for_a_free_name_ends_at_once rows [8] breaks [AnswersLate];
    a_held_name_is_denied rows [4, 5] defects [1] breaks [GrantsWhoeverAsks, SwallowsContention];
    a_lock_is_not_reentrant rows [4] breaks [ReentrantByThread];
    a_denial_says_which_lock rows [5] defects [13] breaks [NamesTheWrongFence, ContentionIsAnError];
    a_denial_says_what_is_left_of_the_lease rows [5] breaks [HidesTheLease];
    an_acquire_asked_twice_is_granted_once defects [15] breaks [ForgetsTheToken, NewTokenPerRetry];
    an_abandoned_claim_leaves_nothing_behind defects [15] breaks [KeepsTheAbandoned];
    an_abandoned_claim_frees_nothing_of_others defects [4, 15] breaks [AbandonFreesAnybody];
    other_names_stay_free rows [6] breaks [OneLockForAll];
    a_denied_attempt_leaves_the_holder_alone rows [10, 12] breaks [WritesBeforeLooking, RevokesTheHolder];
    a_denied_attempt_does_not_lengthen_the_lease rows [15] breaks [DeniedAttemptExtends];
    a_denied_attempt_leaves_nothing_behind rows [11] breaks [DeniedAttemptReserves];
    a_name_is_taken_again_and_again rows [7] breaks [ForgetsToFree];
}

fn a_free_name_is_granted(ctx: &Ctx) -> Outcome {
    let held = ctx.lock().try_acquire()?;
    let status = held.status();
    check!(status == Status::Held, "expected a fresh grant to be held, saw {status:?}");
    held.release()?;
    Ok(())
}

fn a_wait_for_a_free_name_ends_at_once(ctx: &Ctx) -> Outcome {
    let began = Moment::now();
    ctx.lock().acquire()?.release()?;
    ctx.lock().acquire_for(ctx.long())?.release()?;
    let took = Moment::now().since(began);
    check!(took < Duration::from_secs(3), "expected free names at once, waited {took:?}");
    Ok(())
}

fn a_held_name_is_denied(ctx: &Ctx) -> Outcome {
    let (name, other) = (ctx.name(), ctx.reopen()?);
    let held = ctx.subject.lock(&name).try_acquire()?;
    denied(ctx.subject.lock(&name).try_acquire(), "the same handle of the store")?;
    denied(other.lock(&name).try_acquire(), "another handle of the store")?;
    held.release()?;
    let held = other.lock(&name).try_acquire()?;
    denied(ctx.subject.lock(&name).try_acquire(), "the first handle after the other took it")?;
    held.release()?;
    Ok(())
}

fn a_lock_is_not_reentrant(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    let held = lock.try_acquire()?;
    denied(lock.try_acquire(), "the same lock")?;
    denied(lock.clone().try_acquire(), "its clone")?;
    held.release()?;
    Ok(())
}

fn a_denial_says_which_lock(ctx: &Ctx) -> Outcome {
    let name = ctx.name();
    let held = ctx.subject.lock(&name).try_acquire()?;
    let error = denied(ctx.subject.lock(&name).try_acquire(), "a held name")?;
    let text = error.to_string();
    check!(error.lock() == Some(&name), "expected the name {name:?} in the error, saw {text}");
    check!(error.backend().is_some(), "expected the store's label in the error, saw {text}");
    if let Some(fence) = error.holder() {
        check!(fence == held.fence(), "expected fence {} in the way, saw {fence}", held.fence());
    }
    held.release()?;
    Ok(())
}

fn a_denial_says_what_is_left_of_the_lease(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock().ttl(ctx.long());
    let held = lock.try_acquire()?;
    let error = denied(lock.try_acquire(), "a held name")?;
    // Where a lease has no end in the store, there is nothing to say.
    if held.deadline().is_some() {
        let left = error.retry_after();
        let most = ctx.long() + ctx.grain();
        let sane = left.is_some_and(|left| left <= most && left > ctx.long() / 2);
        check!(sane, "expected about {:?} left, saw {left:?}", ctx.long());
    }
    check!(error.is_settled(), "expected contention to be an answer, saw it in doubt: {error}");
    held.release()?;
    Ok(())
}

fn an_acquire_asked_twice_is_granted_once(ctx: &Ctx) -> Outcome {
    let (fences, _) = ctx.subject.ask_twice(&ctx.name(), ctx.long())?;
    check!(fences[0].is_some(), "expected a free name to be granted, saw it denied");
    check!(fences[0] == fences[1], "expected one grant for one token, saw {fences:?}");
    Ok(())
}

fn an_abandoned_claim_leaves_nothing_behind(ctx: &Ctx) -> Outcome {
    let name = ctx.name();
    let (_, next) = ctx.subject.ask_twice(&name, ctx.long())?;
    next?.release()?;
    ctx.subject.lock(&name).try_acquire()?.release()?;
    Ok(())
}

fn an_abandoned_claim_frees_nothing_of_others(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    let held = lock.try_acquire()?;
    abandon_a_stranger(&ctx.subject, lock.name().as_str())?;
    denied(lock.try_acquire(), "a lock on which another claim was abandoned")?;
    held.renew()?;
    held.release()?;
    Ok(())
}

fn other_names_stay_free(ctx: &Ctx) -> Outcome {
    let held: Vec<_> = (0..20).map(|_| ctx.lock().try_acquire()).collect::<Result<_, _>>()?;
    for held in held {
        held.release()?;
    }
    Ok(())
}

fn a_denied_attempt_leaves_the_holder_alone(ctx: &Ctx) -> Outcome {
    let (lock, other) = (ctx.lock(), ctx.reopen()?);
    let held = lock.try_acquire()?;
    for _ in 0..20 {
        denied(lock.try_acquire(), "a held name")?;
        denied(other.lock(lock.name().as_str()).try_acquire(), "a held name, another handle")?;
    }
    let status = held.status();
    check!(status == Status::Held, "expected the holder to hold still, saw {status:?}");
    held.renew()?;
    held.release()?;
    Ok(())
}

fn a_denied_attempt_does_not_lengthen_the_lease(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    let began = Moment::now();
    let held = lock.clone().ttl(ctx.ttl()).release_on_drop(false).try_acquire()?;
    drop(held);
    let longer = lock.clone().ttl(ctx.long());
    loop {
        match longer.try_acquire() {
            Ok(held) => return Ok(held.release()?),
            Err(error) if error.is_contended() => {}
            Err(error) => return Err(error.into()),
        }
        let passed = Moment::now().since(began);
        check!(
            passed < ctx.ttl() + SOON,
            "expected the lease to end by itself, still taken after {passed:?}"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn a_denied_attempt_leaves_nothing_behind(ctx: &Ctx) -> Outcome {
    let (lock, other) = (ctx.lock(), ctx.reopen()?);
    for _ in 0..20 {
        let held = lock.try_acquire()?;
        denied(other.lock(lock.name().as_str()).try_acquire(), "a held name")?;
        held.release()?;
    }
    lock.try_acquire()?.release()?;
    Ok(())
}

fn a_name_is_taken_again_and_again(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    for _ in 0..100 {
        ctx.after_drop(&lock)?.release()?;
        drop(lock.acquire_for(SOON)?);
    }
    Ok(())
}
