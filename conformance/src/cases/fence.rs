//! Fences: larger with every grant of a name, whatever happened in between.

use tenure_core::{Breaking, Fence};

use crate::agent::Agent;
use crate::case::cases;
use crate::ctx::{Ctx, SOON, free_within, growing};
use crate::failure::{Outcome, check};
use crate::subject::{Options, TestLock};

cases! {
    fences_grow_from_grant_to_grant defects [10] breaks [SameFence, UnlinksOnRelease];
    fences_grow_over_expiry defects [10] breaks [FenceResetOnExpiry];
    fences_grow_over_a_drop defects [10] breaks [SameFence];
    fences_grow_between_two_handles defects [10] breaks [FencePerHandle];
    fences_grow_over_a_force_release defects [10] needs [Inspect] breaks [ForceForgetsTheFence];
    fences_grow_over_reopening_the_store defects [10] breaks [FenceResetOnReopen];
    fences_grow_while_names_come_and_go defects [5, 10] breaks [ForgetsIdleNames];
    fences_grow_between_processes defects [10] needs [Processes] breaks [FencePerProcess];
    fences_grow_over_the_death_of_a_process defects [10, 11] needs [Processes] breaks [FencePerProcess];
    a_gate_that_saw_the_next_fence_stops_the_late_holder defects [10] breaks [SameFence];
    a_fence_fits_the_numbers_of_others breaks [HugeFences];
}

fn grant(lock: &TestLock) -> Outcome<Fence> {
    let held = free_within(lock, SOON, "a name that should be free by now")?;
    let fence = held.fence();
    held.release()?;
    Ok(fence)
}

fn fences_grow_from_grant_to_grant(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    // A new lock each time, which has seen no fence.
    let fences: Vec<_> =
        (0..100).map(|_| grant(&ctx.subject.lock(lock.name().as_str()))).collect::<Outcome<_>>()?;
    growing(&fences, "one release after another")?;
    check!(fences[0] > Fence::ZERO, "expected fences above zero, saw {}", fences[0]);
    Ok(())
}

fn fences_grow_over_expiry(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    let mut fences = Vec::new();
    for _ in 0..3 {
        let name = lock.name();
        let held = ctx.subject.lock(name.as_str()).ttl(ctx.ttl()).acquire_for(ctx.ttl() + SOON)?;
        fences.push(held.fence());
        std::mem::forget(held);
    }
    fences.push(grant(&lock)?);
    growing(&fences, "one expiry after another")
}

fn fences_grow_over_a_drop(ctx: &Ctx) -> Outcome {
    let name = ctx.name();
    let mut fences = Vec::new();
    for _ in 0..20 {
        let held = ctx.after_drop(&ctx.subject.lock(&name))?;
        fences.push(held.fence());
        drop(held);
    }
    growing(&fences, "one drop after another")
}

fn fences_grow_between_two_handles(ctx: &Ctx) -> Outcome {
    let (name, other) = (ctx.name(), ctx.reopen()?);
    let mut fences = Vec::new();
    for _ in 0..20 {
        fences.push(grant(&ctx.subject.lock(&name))?);
        fences.push(grant(&other.lock(&name))?);
    }
    growing(&fences, "two handles in turn")
}

fn fences_grow_over_a_force_release(ctx: &Ctx) -> Outcome {
    let (lock, name) = (ctx.lock(), ctx.name());
    let mut fences = Vec::new();
    for breaking in [Breaking::Now, Breaking::Safe, Breaking::Now, Breaking::Safe] {
        let held = ctx.subject.lock(&name).try_acquire()?;
        fences.push(held.fence());
        ctx.subject.inspect().force_release(&ctx.subject.lock(&name).name(), breaking, "a case")?;
        drop(held);
        let next = ctx.after_drop(&ctx.subject.lock(&name))?;
        fences.push(next.fence());
        next.release()?;
    }
    drop(lock);
    growing(&fences, "one force release after another")
}

fn fences_grow_over_reopening_the_store(ctx: &Ctx) -> Outcome {
    let name = ctx.name();
    let fences: Vec<_> = (0..10)
        .map(|_| ctx.reopen().and_then(|subject| grant(&subject.lock(&name))))
        .collect::<Outcome<_>>()?;
    growing(&fences, "one opening after another")
}

fn fences_grow_while_names_come_and_go(ctx: &Ctx) -> Outcome {
    let name = ctx.name();
    let mut fences = Vec::new();
    for _ in 0..3 {
        fences.push(grant(&ctx.subject.lock(&name))?);
        for _ in 0..600 {
            grant(&ctx.lock())?;
        }
    }
    fences.push(grant(&ctx.subject.lock(&name))?);
    growing(&fences, "hundreds of other names in between")
}

fn fences_grow_between_processes(ctx: &Ctx) -> Outcome {
    let name = ctx.name();
    let mut agents: Vec<Agent> = (0..2).map(|_| ctx.agent()).collect::<Outcome<_>>()?;
    let mut fences = Vec::new();
    for round in 0..20 {
        let agent = &mut agents[round % 2];
        fences.push(agent.take(&name, &Options::default())?.fence);
        agent.release(&name)?.done()?;
        fences.push(grant(&ctx.subject.lock(&name))?);
    }
    growing(&fences, "three processes in turn")
}

fn fences_grow_over_the_death_of_a_process(ctx: &Ctx) -> Outcome {
    let name = ctx.name();
    let mut fences = Vec::new();
    for _ in 0..3 {
        let mut agent = ctx.agent()?;
        let options = Options::ttl(ctx.ttl());
        fences.push(agent.acquire(&name, &options, crate::agent::Wait::For(SOON))?.taken()?.fence);
        agent.kill()?;
    }
    fences.push(grant(&ctx.subject.lock(&name))?);
    growing(&fences, "one killed process after another")
}

fn a_gate_that_saw_the_next_fence_stops_the_late_holder(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    let mut gate = Fence::ZERO;
    let mut passes = |fence: Fence| {
        gate = gate.max(fence);
        fence >= gate
    };
    let late = lock.clone().ttl(ctx.ttl()).try_acquire()?;
    check!(passes(late.fence()), "expected the holder to pass, saw it stopped");
    let next = lock.acquire_for(ctx.ttl() + SOON)?;
    check!(passes(next.fence()), "expected the next holder to pass, saw it stopped");
    check!(!passes(late.fence()), "expected the late holder to be stopped, saw it pass");
    next.release()?;
    Ok(())
}

fn a_fence_fits_the_numbers_of_others(ctx: &Ctx) -> Outcome {
    let fence = grant(&ctx.lock())?;
    // What JSON and floating-point numbers hold exactly.
    check!(fence.get() < 1 << 53, "expected a fence below 2^53, saw {fence}");
    Ok(())
}
