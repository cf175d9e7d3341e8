//! Taking a lock away by force.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use tenure_core::{Breaking, Cause, Holder, Kind, Moment};

use crate::agent::Command;
use crate::case::cases;
use crate::ctx::{Ctx, SOON, denied, eventually, free_within, join, refused, sleep_until};
use crate::driver::TestHeld;
use crate::failure::{Failure, Outcome, check};
use crate::subject::{Options, TestLock};

cases! {
    a_forced_name_stays_closed_until_its_loser_releases needs [Inspect] breaks [ForceOpensAtOnce, BrokenStaysClosed];
    a_forced_name_stays_closed_until_its_loser_drops needs [Inspect] breaks [ForceOpensAtOnce];
    a_forced_name_opens_when_its_losers_lease_ends needs [Inspect] breaks [ForceClosesForEver];
    a_name_forced_now_opens_at_once needs [Inspect] breaks [ForceWaits];
    a_loser_is_told_why defects [10] needs [Inspect] breaks [ForceSaysNothing];
    a_loser_cannot_renew rows [62] needs [Inspect] breaks [RenewsTheBroken];
    a_loser_that_is_kept_alive_learns_in_time defects [10] needs [Inspect] breaks [ForceSaysNothing];
    a_losers_release_never_frees_the_next_owner rows [13] defects [4] needs [Inspect]
        breaks [ReleasesWithoutOwnerCheck];
    a_force_release_moves_the_fence defects [10] needs [Inspect] breaks [ForceKeepsTheFence];
    forcing_a_free_name_finds_nobody needs [Inspect] breaks [ForceFindsAnybody];
    a_force_release_says_who_it_was needs [Inspect] breaks [ForceReturnsWhatIsLeft];
    a_broken_lock_shows_its_reason needs [Inspect] breaks [ForceForgetsTheReason];
    a_waiter_gets_a_forced_lock needs [Inspect] breaks [BrokenStaysClosed];
    a_loser_in_another_process_is_told rows [39] needs [Inspect, Processes] breaks [ForceSaysNothing];
    a_name_that_is_kept_closed_can_be_opened needs [Inspect] breaks [ForceWaitsForNobody];
}

fn force(ctx: &Ctx, lock: &TestLock, breaking: Breaking) -> Outcome<Option<Holder>> {
    Ok(ctx.subject.inspect().force_release(&lock.name(), breaking, "because")?)
}

fn broken(ctx: &Ctx, lock: &TestLock, ttl: Duration) -> Outcome<TestHeld> {
    let held = lock.clone().ttl(ttl).try_acquire()?;
    let seen = force(ctx, lock, Breaking::Safe)?;
    if seen.is_none() && !held.is_held() {
        return Err(Failure::late("the lease ended before it could be broken"));
    }
    check!(seen.is_some(), "expected a holder to take the lock from, saw nobody");
    Ok(held)
}

fn a_forced_name_stays_closed_until_its_loser_releases(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    let loser = broken(ctx, &lock, ctx.long())?;
    denied(lock.try_acquire(), "a broken lock whose holder has not let go")?;
    denied(ctx.reopen()?.lock(lock.name().as_str()).try_acquire(), "the same, another handle")?;
    let error = refused(loser.release(), Kind::Lost, "the release of a broken lock")?;
    check!(error.cause() == Some(Cause::Forced), "expected a loss by force, saw {error}");
    lock.try_acquire()?.release()?;
    Ok(())
}

fn a_forced_name_stays_closed_until_its_loser_drops(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    let loser = broken(ctx, &lock, ctx.long())?;
    denied(lock.try_acquire(), "a broken lock whose holder has not let go")?;
    drop(loser);
    ctx.after_drop(&lock)?.release()?;
    Ok(())
}

fn a_forced_name_opens_when_its_losers_lease_ends(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    let loser = broken(ctx, &lock, ctx.ttl())?;
    free_within(&lock, ctx.ttl() + SOON, "a broken lock whose lease has ended")?.release()?;
    refused(loser.release(), Kind::Lost, "the release of a broken lock after its lease")?;
    Ok(())
}

fn a_name_forced_now_opens_at_once(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    let loser = lock.clone().ttl(ctx.long()).try_acquire()?;
    force(ctx, &lock, Breaking::Now)?;
    let next = lock.try_acquire()?;
    refused(loser.renew(), Kind::Lost, "the renewal of a lock that was opened by force")?;
    next.release()?;
    refused(loser.release(), Kind::Lost, "the release of a lock that was opened by force")?;
    Ok(())
}

fn a_loser_is_told_why(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    let loser = broken(ctx, &lock, ctx.long())?;
    let error = refused(loser.renew(), Kind::Lost, "the renewal of a broken lock")?;
    check!(error.cause() == Some(Cause::Forced), "expected a loss by force, saw {error}");
    let status = loser.status();
    check!(status == tenure_core::Status::Lost(Cause::Forced), "expected a loss by force, saw {status:?}");
    Ok(())
}

fn a_loser_cannot_renew(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    let loser = broken(ctx, &lock, ctx.ttl())?;
    refused(loser.renew_for(ctx.long()), Kind::Lost, "a long renewal of a broken lock")?;
    refused(loser.renew(), Kind::Lost, "a renewal of a broken lock")?;
    free_within(&lock, ctx.ttl() + SOON, "a broken lock that its loser wanted to renew")?.release()?;
    Ok(())
}

fn a_loser_that_is_kept_alive_learns_in_time(ctx: &Ctx) -> Outcome {
    let subject = ctx.open_with(ctx.short_lease()?)?;
    let lock = subject.lock(ctx.name());
    let held = lock.try_acquire()?;
    let told = Arc::new(AtomicU32::new(0));
    let count = told.clone();
    held.on_lost(Box::new(move |cause| {
        count.fetch_add(if cause == Cause::Forced { 1 } else { 100 }, Ordering::SeqCst);
    }));
    thread::scope(|scope| {
        let watcher = scope.spawn(|| -> Outcome<Cause> { Ok(held.lost()) });
        // It waits by then, and must be woken.
        sleep_until(Moment::now() + Duration::from_millis(50));
        force(ctx, &lock, Breaking::Safe)?;
        let forced = Moment::now();
        eventually(ctx.ttl() + SOON, "word of the force release", || watcher.is_finished())?;
        let (cause, took) = (join(watcher)?, Moment::now().since(forced));
        if cause != Cause::Forced {
            let lost = format!("expected a loss by force, saw {cause:?}");
            return Err(Failure::new(lost).late_if(cause == Cause::Expired));
        }
        let limit = ctx.ttl() + Duration::from_secs(2);
        check!(took < limit, "expected word within the lease, saw it after {took:?}");
        Ok(())
    })?;
    eventually(SOON, "the callback of a loss", || told.load(Ordering::SeqCst) > 0)?;
    let told = told.load(Ordering::SeqCst);
    check!(told == 1, "expected one word of a loss by force, saw {told}");
    refused(held.release(), Kind::Lost, "the release of a broken lock")?;
    lock.try_acquire()?.release()?;
    Ok(())
}

fn a_losers_release_never_frees_the_next_owner(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    let loser = lock.clone().ttl(ctx.long()).try_acquire()?;
    force(ctx, &lock, Breaking::Now)?;
    let next = lock.try_acquire()?;
    refused(loser.release(), Kind::Lost, "the loser's release")?;
    denied(lock.try_acquire(), "the next owner's lock after the loser's release")?;
    let second = {
        force(ctx, &lock, Breaking::Now)?;
        lock.try_acquire()?
    };
    drop(next);
    denied(lock.try_acquire(), "the next owner's lock after the loser's drop")?;
    second.release()?;
    Ok(())
}

fn a_force_release_moves_the_fence(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    let loser = broken(ctx, &lock, ctx.long())?;
    let before = loser.fence();
    let seen = ctx.subject.inspect().inspect(&lock.name())?.map(|holder| holder.fence());
    check!(seen.is_some_and(|moved| moved > before), "expected a fence above {before}, saw {seen:?}");
    drop(loser);
    let next = ctx.after_drop(&lock)?;
    check!(Some(next.fence()) > seen, "expected a fence above {seen:?}, saw {}", next.fence());
    next.release()?;
    Ok(())
}

fn forcing_a_free_name_finds_nobody(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    for breaking in [Breaking::Safe, Breaking::Now] {
        let seen = force(ctx, &lock, breaking)?;
        check!(seen.is_none(), "expected nobody, saw {seen:?}");
        lock.try_acquire()?.release()?;
        let seen = force(ctx, &lock, breaking)?;
        check!(seen.is_none(), "expected nobody after a release, saw {seen:?}");
    }
    drop(lock.clone().ttl(ctx.ttl()).release_on_drop(false).try_acquire()?);
    ctx.outlive(ctx.ttl());
    let seen = force(ctx, &lock, Breaking::Safe)?;
    check!(seen.is_none(), "expected nobody after the end of the lease, saw {seen:?}");
    lock.try_acquire()?.release()?;
    Ok(())
}

fn a_force_release_says_who_it_was(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock().label("the loser");
    for breaking in [Breaking::Safe, Breaking::Now] {
        let held = ctx.after_drop(&lock)?;
        let seen = force(ctx, &lock, breaking)?;
        let label = seen.as_ref().map(Holder::label);
        check!(label == Some("the loser"), "expected the loser's label, saw {seen:?}");
        drop(held);
    }
    Ok(())
}

fn a_broken_lock_shows_its_reason(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    let loser = broken(ctx, &lock, ctx.long())?;
    let seen = ctx.subject.inspect().inspect(&lock.name())?;
    let reason = seen.as_ref().and_then(Holder::breaking);
    check!(reason == Some("because"), "expected the reason \"because\", saw {seen:?}");
    drop(loser);
    ctx.after_drop(&lock)?.release()?;
    let seen = ctx.subject.inspect().inspect(&lock.name())?;
    check!(seen.is_none(), "expected nobody after the loser let go, saw {seen:?}");
    Ok(())
}

fn a_waiter_gets_a_forced_lock(ctx: &Ctx) -> Outcome {
    for breaking in [Breaking::Safe, Breaking::Now] {
        let lock = ctx.lock();
        let held = lock.try_acquire()?;
        thread::scope(|scope| {
            let waiter = scope.spawn(|| -> Outcome { Ok(lock.acquire_for(SOON)?.release()?) });
            sleep_until(Moment::now() + Duration::from_millis(30));
            force(ctx, &lock, breaking)?;
            if breaking == Breaking::Safe {
                drop(held.release());
            }
            join(waiter)
        })?;
    }
    Ok(())
}

fn a_loser_in_another_process_is_told(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    let mut agent = ctx.agent_with(ctx.short_lease()?)?;
    agent.take(lock.name().as_str(), &Options::default())?;
    agent.send(&Command::Lost(lock.name().to_string()))?;
    force(ctx, &lock, Breaking::Safe)?;
    agent.answer()?.lost(&[Cause::Forced])?;
    agent.release(lock.name().as_str())?.lost(&[Cause::Forced])?;
    lock.try_acquire()?.release()?;
    Ok(())
}

fn a_name_that_is_kept_closed_can_be_opened(ctx: &Ctx) -> Outcome {
    for breaking in [Breaking::Safe, Breaking::Now] {
        let lock = ctx.lock();
        lock.clone().hold_at_least(ctx.long()).try_acquire()?.release()?;
        force(ctx, &lock, breaking)?;
        lock.try_acquire()?.release()?;
    }
    Ok(())
}
