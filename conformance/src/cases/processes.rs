//! Other processes: denied, killed, ended.

use std::time::Duration;

use tenure_core::{Cause, Kind};

use crate::agent::{Command, Wait};
use crate::case::cases;
use crate::ctx::{Ctx, SOON, denied, free_within};
use crate::failure::{Outcome, check};
use crate::subject::Options;

cases! {
    another_process_is_denied rows [39] needs [Processes] breaks [LocksPerProcess];
    other_names_stay_free_for_another_process rows [40] needs [Processes] breaks [OneLockForAll];
    a_killed_process_frees_its_kept_lock defects [11] needs [Processes] breaks [NeverExpires];
    a_killed_process_frees_its_fixed_lock defects [11] needs [Processes] breaks [NeverExpires];
    a_killed_holders_lock_goes_to_a_waiter defects [11] needs [Processes] breaks [NeverExpires];
    a_process_that_ends_without_releasing_frees_its_lock defects [11, 12] needs [Processes] breaks [NeverExpires];
    a_lock_can_outlive_its_process rows [15] needs [Processes] breaks [DetachedEndsWithTheProcess];
    a_killed_waiter_takes_nothing needs [Processes] breaks [DeniedAttemptReserves];
    a_program_started_by_the_holder_inherits_nothing defects [8, 11] needs [Processes]
        breaks [HeldByAnOpenFile];
    a_process_told_to_stop_gives_up_everything needs [Processes] breaks [ClaimsToBeDirect];
    a_wait_of_another_process_ends_at_its_limit rows [19, 39] needs [Processes] breaks [AnswersLate];
}

fn another_process_is_denied(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    let (name, mut agent) = (lock.name(), ctx.agent()?);
    let held = lock.try_acquire()?;
    agent.try_acquire(name.as_str(), &Options::default())?.refused(Kind::Contended)?;
    held.release()?;
    agent.take(name.as_str(), &Options::default())?;
    denied(lock.try_acquire(), "a lock of another process")?;
    agent.release(name.as_str())?.done()?;
    lock.try_acquire()?.release()?;
    Ok(())
}

fn other_names_stay_free_for_another_process(ctx: &Ctx) -> Outcome {
    let mut agent = ctx.agent()?;
    let held = ctx.lock().try_acquire()?;
    for _ in 0..10 {
        let name = ctx.name();
        agent.take(&name, &Options::default())?;
        agent.release(&name)?.done()?;
    }
    held.release()?;
    Ok(())
}

fn a_killed_process_frees_its_kept_lock(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    let mut agent = ctx.agent_with(ctx.short_lease()?)?;
    agent.take(lock.name().as_str(), &Options::default())?;
    denied(lock.try_acquire(), "a lock of another process")?;
    agent.kill()?;
    free_within(&lock, ctx.ttl() + SOON, "the kept lock of a killed process")?.release()?;
    Ok(())
}

fn a_killed_process_frees_its_fixed_lock(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    let mut agent = ctx.agent()?;
    agent.take(lock.name().as_str(), &Options::ttl(ctx.ttl() * 2))?;
    agent.kill()?;
    free_within(&lock, ctx.ttl() * 2 + SOON, "the fixed lock of a killed process")?.release()?;
    Ok(())
}

fn a_killed_holders_lock_goes_to_a_waiter(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    let mut agent = ctx.agent_with(ctx.short_lease()?)?;
    let taken = agent.take(lock.name().as_str(), &Options::default())?;
    let held = std::thread::scope(|scope| {
        let waiter = scope.spawn(|| -> Outcome<_> { Ok(lock.acquire_for(ctx.ttl() + SOON)?) });
        std::thread::sleep(Duration::from_millis(30));
        agent.kill()?;
        crate::ctx::join(waiter)
    })?;
    check!(held.fence() > taken.fence, "expected a fence above {}, saw {}", taken.fence, held.fence());
    held.release()?;
    Ok(())
}

fn a_process_that_ends_without_releasing_frees_its_lock(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    let mut agent = ctx.agent_with(ctx.short_lease()?)?;
    agent.take(lock.name().as_str(), &Options::default())?;
    agent.exit()?;
    free_within(&lock, ctx.ttl() + SOON, "the lock of a process that ended")?.release()?;
    Ok(())
}

fn a_lock_can_outlive_its_process(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    let ttl = ctx.ttl() * 3;
    for killed in [true, false] {
        let mut agent = ctx.agent()?;
        let options = Options { release_on_drop: Some(false), ..Options::ttl(ttl) };
        let began = tenure_core::Moment::now();
        agent.take(lock.name().as_str(), &options)?;
        agent.ask(&Command::Drop(lock.name().to_string()))?.done()?;
        if killed {
            agent.kill()?
        } else {
            agent.exit()?
        }
        crate::ctx::taken_until(&lock, began + ttl, "a lock that was to outlive its process")?;
        free_within(&lock, SOON, "such a lock after its lease")?.release()?;
    }
    Ok(())
}

fn a_killed_waiter_takes_nothing(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    let held = lock.try_acquire()?;
    let mut agent = ctx.agent_with(ctx.short_lease()?)?;
    agent.send(&Command::Acquire {
        name: lock.name().to_string(),
        options: Options::default(),
        wait: Wait::Ever,
    })?;
    std::thread::sleep(Duration::from_millis(100));
    denied(lock.try_acquire(), "a held lock that another process waits for")?;
    agent.kill()?;
    held.release()?;
    free_within(&lock, ctx.ttl() + SOON, "a name whose waiter was killed")?.release()?;
    Ok(())
}

fn a_program_started_by_the_holder_inherits_nothing(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    let mut agent = ctx.agent_with(ctx.short_lease()?)?;
    agent.take(lock.name().as_str(), &Options::default())?;
    agent.ask(&Command::Spawn(Duration::from_secs(20)))?.done()?;
    agent.release(lock.name().as_str())?.done()?;
    lock.try_acquire()?.release()?;
    agent.take(lock.name().as_str(), &Options::default())?;
    agent.ask(&Command::Spawn(Duration::from_secs(20)))?.done()?;
    agent.kill()?;
    free_within(&lock, ctx.ttl() + SOON, "the lock of a process whose program lives on")?.release()?;
    Ok(())
}

fn a_process_told_to_stop_gives_up_everything(ctx: &Ctx) -> Outcome {
    let mut agent = ctx.agent()?;
    let locks: Vec<_> = (0..10).map(|_| ctx.lock()).collect();
    for (index, lock) in locks.iter().enumerate() {
        let options = if index % 2 == 0 { Options::default() } else { Options::ttl(ctx.long()) };
        agent.take(lock.name().as_str(), &options)?;
    }
    agent.ask(&Command::ReleaseAll)?.done()?;
    for lock in &locks {
        lock.try_acquire()?.release()?;
        let late = agent.release(lock.name().as_str())?;
        late.lost(&[Cause::Released])?;
    }
    Ok(())
}

fn a_wait_of_another_process_ends_at_its_limit(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    let held = lock.try_acquire()?;
    let mut agent = ctx.agent()?;
    let (began, limit) = (tenure_core::Moment::now(), Duration::from_millis(200));
    let answer = agent.acquire(lock.name().as_str(), &Options::default(), Wait::For(limit))?;
    let waited = tenure_core::Moment::now().since(began);
    let text = answer.refused(Kind::TimedOut)?;
    check!(waited >= limit, "expected a wait of {limit:?}, saw {waited:?}");
    check!(waited < limit * 10, "expected an end after {limit:?}, saw it after {waited:?}");
    check!(!text.contains("this very process"), "expected no word of a wait for oneself, saw {text:?}");
    held.release()?;
    Ok(())
}
