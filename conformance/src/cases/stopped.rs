//! Holders that were stopped and woke up.

use tenure_core::{Breaking, Cause, Kind, Moment};

use crate::agent::{Agent, Answer, Command, Seen};
use crate::case::cases;
use crate::ctx::{Ctx, SOON, denied, eventually, free_within, sleep_until};
use crate::failure::{Outcome, check};
use crate::subject::Options;

cases! {
    a_stopped_holder_loses_its_lock defects [11] needs [Processes] breaks [NeverExpires];
    a_stopped_holder_wakes_up_without_its_lock rows [12] defects [10] needs [Processes]
        breaks [SaysNoLease];
    a_stopped_holders_release_never_frees_the_next_owner rows [13, 14, 17] defects [4] needs [Processes]
        breaks [LateReleaseFrees];
    a_stopped_holders_renewals_never_extend_the_next_owner rows [62, 63] defects [21] needs [Processes]
        breaks [NeverExpires];
    a_stopped_holders_renewals_never_extend_who_came_by_force rows [62, 63] defects [21]
        needs [Processes, Inspect] breaks [RenewsWithoutOwnerCheck];
    a_stop_within_the_lease_costs_nothing rows [12, 60] needs [Processes] breaks [NeedsAHeartbeat];
}

/// An agent that was stopped until its kept lock was over.
fn stopped(ctx: &Ctx, name: &str) -> Outcome<Agent> {
    let mut agent = ctx.agent_with(ctx.short_lease()?)?;
    agent.take(name, &Options::default())?;
    agent.stop()?;
    Ok(agent)
}

fn a_stopped_holder_loses_its_lock(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    let agent = stopped(ctx, lock.name().as_str())?;
    free_within(&lock, ctx.ttl() + SOON, "the lock of a stopped process")?.release()?;
    drop(agent);
    Ok(())
}

fn a_stopped_holder_wakes_up_without_its_lock(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    let name = lock.name();
    let mut agent = stopped(ctx, name.as_str())?;
    let next = free_within(&lock, ctx.ttl() + SOON, "the lock of a stopped process")?;
    agent.wake()?;
    // The first thing that it is asked: it must not have believed for a moment.
    let seen = agent.status(name.as_str())?;
    check!(matches!(seen, Seen::Lost(_)), "expected a woken holder to know of its loss, saw {seen:?}");
    agent.ask(&Command::Lost(name.to_string()))?.lost(&[Cause::Expired, Cause::Superseded])?;
    next.renew()?;
    next.release()?;
    Ok(())
}

fn a_stopped_holders_release_never_frees_the_next_owner(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    let name = lock.name();
    let mut agent = stopped(ctx, name.as_str())?;
    let next = free_within(&lock, ctx.ttl() + SOON, "the lock of a stopped process")?;
    agent.wake()?;
    agent.release(name.as_str())?.refused(Kind::Lost)?;
    denied(lock.try_acquire(), "the next owner's lock after a woken holder's release")?;
    next.renew()?;
    next.release()?;
    Ok(())
}

fn a_stopped_holders_renewals_never_extend_the_next_owner(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    let name = lock.name();
    let mut agent = stopped(ctx, name.as_str())?;
    let next = lock.clone().ttl(ctx.ttl() * 2).acquire_for(ctx.ttl() + SOON)?;
    agent.wake()?;
    agent.renew(name.as_str())?.refused(Kind::Lost)?;
    free_within(&lock, ctx.ttl() * 2 + SOON, "the next owner's lock after its own lease")?.release()?;
    drop(next);
    Ok(())
}

fn a_stopped_holders_renewals_never_extend_who_came_by_force(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    let name = lock.name();
    // It wakes up within its own lease, and does not know yet that it has lost it.
    let mut agent = ctx.agent()?;
    agent.take(name.as_str(), &Options::ttl(ctx.long()))?;
    agent.stop()?;
    ctx.subject.inspect().force_release(&name, Breaking::Now, "because")?;
    let next = lock.clone().ttl(ctx.ttl() * 2).try_acquire()?;
    agent.wake()?;
    agent.renew(name.as_str())?.refused(Kind::Lost)?;
    free_within(&lock, ctx.ttl() * 2 + SOON, "the next owner's lock after its own lease")?.release()?;
    drop(next);
    Ok(())
}

fn a_stop_within_the_lease_costs_nothing(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    let name = lock.name();
    let mut agent = ctx.agent()?;
    agent.take(name.as_str(), &Options::ttl(ctx.long()))?;
    agent.stop()?;
    sleep_until(Moment::now() + ctx.ttl());
    denied(lock.try_acquire(), "the lock of a stopped process within its lease")?;
    agent.wake()?;
    let mut seen = None;
    eventually(Agent::WAKING, "a status of the woken process", || {
        seen = agent.status(name.as_str()).ok();
        seen.is_some()
    })?;
    check!(seen == Some(Seen::Held), "expected a woken holder to hold still, saw {seen:?}");
    let answer = agent.release(name.as_str())?;
    check!(matches!(answer, Answer::Done), "expected its release to succeed, saw {answer:?}");
    lock.try_acquire()?.release()?;
    Ok(())
}
