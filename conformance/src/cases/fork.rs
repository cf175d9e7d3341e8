//! Forked children of a holder, which own nothing.

use tenure_core::{Cause, Moment, Status};

use crate::agent::{Agent, Command, ForkDeed, Seen};
use crate::case::cases;
use crate::ctx::{Ctx, SOON, denied, free_within, taken_until};
use crate::failure::{Failure, Outcome, check};
use crate::subject::{Options, TestLock};

cases! {
    a_forked_childs_drop_frees_nothing defects [8] needs [Processes] breaks [ClaimsToBeDirect];
    a_forked_childs_release_frees_nothing defects [8] needs [Processes] breaks [ClaimsToBeDirect];
    a_forked_child_is_denied_like_any_other rows [39] defects [8] needs [Processes]
        breaks [ChildIsItsParent];
    a_forked_child_keeps_nothing_of_a_released_lock defects [8] needs [Processes]
        breaks [HeldByAnOpenFile];
    a_forked_child_keeps_nothing_of_a_killed_parent defects [8, 11] needs [Processes]
        breaks [HeldByAnOpenFile];
}

fn parent(ctx: &Ctx, lock: &TestLock, deed: ForkDeed) -> Outcome<Agent> {
    let mut agent = ctx.agent_with(ctx.short_lease()?)?;
    agent.take(lock.name().as_str(), &Options::default())?;
    agent.ask(&Command::Fork { name: lock.name().to_string(), deed })?.done()?;
    Ok(agent)
}

/// The parent goes on holding, being renewed, and frees the lock itself.
fn holds(ctx: &Ctx, lock: &TestLock, mut agent: Agent) -> Outcome {
    let taken = denied(lock.try_acquire(), "the lock of a parent whose child let go")
        .and_then(|_| taken_until(lock, Moment::now() + ctx.ttl() * 2, "the kept lock of such a parent"));
    let seen = agent.status(lock.name().as_str())?;
    let late = seen == Seen::from(Status::Lost(Cause::Expired));
    taken.map_err(|failure| failure.late_if(late))?;
    if seen != Seen::Held {
        let lost = format!("expected the parent to hold still, saw {seen:?}");
        return Err(Failure::new(lost).late_if(late));
    }
    agent.renew(lock.name().as_str())?.done()?;
    agent.release(lock.name().as_str())?.done()?;
    lock.try_acquire()?.release()?;
    Ok(())
}

fn a_forked_childs_drop_frees_nothing(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    let agent = parent(ctx, &lock, ForkDeed::Drop)?;
    holds(ctx, &lock, agent)
}

fn a_forked_childs_release_frees_nothing(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    let agent = parent(ctx, &lock, ForkDeed::Release)?;
    holds(ctx, &lock, agent)
}

fn a_forked_child_is_denied_like_any_other(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    let agent = parent(ctx, &lock, ForkDeed::TryAgain)?;
    holds(ctx, &lock, agent)
}

fn a_forked_child_keeps_nothing_of_a_released_lock(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    let mut agent = parent(ctx, &lock, ForkDeed::Linger)?;
    agent.release(lock.name().as_str())?.done()?;
    lock.try_acquire()?.release()?;
    Ok(())
}

fn a_forked_child_keeps_nothing_of_a_killed_parent(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    let began = Moment::now();
    parent(ctx, &lock, ForkDeed::Linger)?.kill()?;
    let limit = (ctx.ttl() + SOON).min(SOON * 8 / 10);
    free_within(&lock, limit, "the lock of a killed parent whose child lives on")?.release()?;
    let took = Moment::now().since(began);
    check!(took < SOON, "expected the lock while the child lived, saw it after {took:?}");
    Ok(())
}
