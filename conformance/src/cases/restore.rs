//! Taking a lock up again by its owner token.

use tenure_core::{Breaking, Kind, Moment, Owner, Status};

use crate::agent::Command;
use crate::case::cases;
use crate::ctx::{Ctx, SOON, denied, free_within, refused, sleep_until, taken_until};
use crate::failure::{Outcome, check};
use crate::subject::Options;

cases! {
    a_lock_is_restored_by_its_owner rows [23, 67] needs [Restore] breaks [RestoreGrantsAnew];
    a_restored_lock_gets_a_new_life rows [67] needs [Restore] breaks [RestoreLeavesTheLife];
    a_stranger_restores_nothing rows [68] needs [Restore] breaks [RestoresForAnybody];
    restoring_a_free_name_inserts_nothing rows [68] needs [Restore] breaks [RestoreInserts];
    restoring_after_release_is_refused rows [68] needs [Restore] breaks [RestoresTheReleased];
    restoring_after_expiry_is_refused rows [62, 68] needs [Restore] breaks [RestoresTheExpired];
    restoring_after_force_is_refused rows [68] needs [Restore, Inspect] breaks [RestoresTheBroken];
    another_process_restores_a_lock rows [39, 67] needs [Restore, Processes] breaks [RestoresOnlyItsOwn];
    a_lock_left_by_a_dead_process_is_restored rows [67] needs [Restore, Processes]
        breaks [DetachedEndsWithTheProcess];
}

fn a_lock_is_restored_by_its_owner(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock().ttl(ctx.long()).release_on_drop(false);
    let held = lock.try_acquire()?;
    let (owner, fence) = (held.owner(), held.fence());
    drop(held);
    let restored = ctx.subject.lock(lock.name().as_str()).ttl(ctx.long()).restore(owner)?;
    check!(restored.fence() == fence, "expected fence {fence}, saw {}", restored.fence());
    check!(restored.owner() == owner, "expected the same owner, saw another");
    let status = restored.status();
    check!(status == Status::Held, "expected a restored lock to be held, saw {status:?}");
    denied(lock.try_acquire(), "a restored lock")?;
    restored.renew()?;
    restored.release()?;
    lock.release_on_drop(true).try_acquire()?.release()?;
    Ok(())
}

fn a_restored_lock_gets_a_new_life(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    let held = lock.clone().ttl(ctx.ttl()).release_on_drop(false).try_acquire()?;
    let owner = held.owner();
    drop(held);
    let restored = lock.clone().ttl(ctx.ttl() * 4).restore(owner)?;
    taken_until(&lock, Moment::now() + ctx.ttl() * 2, "a lock restored for longer")?;
    restored.release()?;
    lock.try_acquire()?.release()?;
    Ok(())
}

fn a_stranger_restores_nothing(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    let held = lock.try_acquire()?;
    refused(lock.restore(Owner::random()), Kind::Lost, "restoring with a token of one's own making")?;
    denied(lock.try_acquire(), "a lock that a stranger wanted to restore")?;
    held.renew()?;
    held.release()?;
    Ok(())
}

fn restoring_a_free_name_inserts_nothing(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    refused(lock.restore(Owner::random()), Kind::Lost, "restoring a name that nobody ever held")?;
    lock.try_acquire()?.release()?;
    refused(lock.restore(Owner::random()), Kind::Lost, "restoring a free name")?;
    lock.try_acquire()?.release()?;
    Ok(())
}

fn restoring_after_release_is_refused(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    let held = lock.try_acquire()?;
    let owner = held.owner();
    held.release()?;
    refused(lock.restore(owner), Kind::Lost, "restoring a released lock")?;
    lock.try_acquire()?.release()?;
    Ok(())
}

fn restoring_after_expiry_is_refused(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    let held = lock.clone().ttl(ctx.ttl()).release_on_drop(false).try_acquire()?;
    let owner = held.owner();
    drop(held);
    sleep_until(Moment::now() + ctx.ttl() + ctx.grain());
    refused(lock.restore(owner), Kind::Lost, "restoring a lock whose lease ended")?;
    let next = free_within(&lock, SOON, "a name whose lease ended")?;
    refused(lock.restore(owner), Kind::Lost, "restoring a lock that another has")?;
    next.release()?;
    Ok(())
}

fn restoring_after_force_is_refused(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    let held = lock.clone().ttl(ctx.long()).try_acquire()?;
    ctx.subject.inspect().force_release(&lock.name(), Breaking::Safe, "because")?;
    refused(lock.restore(held.owner()), Kind::Lost, "restoring a broken lock")?;
    drop(held);
    ctx.after_drop(&lock)?.release()?;
    Ok(())
}

fn another_process_restores_a_lock(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock().ttl(ctx.long()).release_on_drop(false);
    let held = lock.try_acquire()?;
    let (owner, fence) = (held.owner(), held.fence());
    drop(held);
    let mut agent = ctx.agent()?;
    let name = lock.name().to_string();
    let restored = agent.ask(&Command::Restore { name: name.clone(), options: Options::default(), owner })?;
    let restored = restored.taken()?;
    check!(restored.fence == fence, "expected fence {fence}, saw {}", restored.fence);
    check!(restored.owner == owner, "expected the same owner, saw another");
    denied(lock.try_acquire(), "a lock that another process restored")?;
    agent.release(&name)?.done()?;
    lock.try_acquire()?.release()?;
    Ok(())
}

fn a_lock_left_by_a_dead_process_is_restored(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    let mut agent = ctx.agent()?;
    let options = Options { release_on_drop: Some(false), ..Options::ttl(ctx.long()) };
    let taken = agent.take(lock.name().as_str(), &options)?;
    agent.kill()?;
    denied(lock.try_acquire(), "a lock that was to outlive its process")?;
    let restored = lock.restore(taken.owner)?;
    check!(restored.fence() == taken.fence, "expected fence {}, saw {}", taken.fence, restored.fence());
    restored.release()?;
    lock.try_acquire()?.release()?;
    Ok(())
}
