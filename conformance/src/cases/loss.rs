//! Honesty about loss: what a holder believes, and how it learns that it is over.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use tenure_core::{Cause, Moment, Status};

use crate::case::cases;
use crate::ctx::{Ctx, SOON, eventually, is_too_late, join, sleep_until};
use crate::driver::TestHeld;
use crate::failure::{Failure, Outcome, check};

cases! {
    a_holder_never_believes_beyond_its_deadline rows [12] defects [10] breaks [SaysNoLease];
    a_deadline_lies_within_the_lease rows [12] defects [10] breaks [SaysALongerLease];
    belief_ends_before_the_next_grant rows [12, 15] defects [10] breaks [ExpiresEarly];
    the_end_of_a_lease_wakes_who_waits_for_a_loss defects [10] breaks [RoundsTtlUp];
    a_loss_is_told_once defects [10] breaks [RoundsTtlUp];
    a_loss_is_told_at_once_to_who_asks_late defects [10] breaks [SaysNoLease];
    a_holder_that_renews_in_time_loses_nothing rows [12, 60] defects [10] breaks [RenewsForLess];
}

fn a_holder_never_believes_beyond_its_deadline(ctx: &Ctx) -> Outcome {
    let held = ctx.lock().ttl(ctx.ttl()).try_acquire()?;
    let Some(deadline) = held.deadline() else {
        return Err(Failure::new("expected a deadline under a fixed lease, saw none"));
    };
    loop {
        let (before, status, after) = (Moment::now(), held.status(), Moment::now());
        if after < deadline {
            check!(status == Status::Held, "expected a lock within its lease to be held, saw {status:?}");
        } else if before >= deadline {
            check!(status == Status::Lost(Cause::Expired), "expected a loss by expiry, saw {status:?}");
            check!(!held.is_held(), "expected no belief after the deadline, saw it");
            return Ok(());
        }
        thread::sleep(Duration::from_millis(1));
    }
}

fn a_deadline_lies_within_the_lease(ctx: &Ctx) -> Outcome {
    let held = ctx.lock().ttl(ctx.ttl()).try_acquire()?;
    let latest = Moment::now() + ctx.ttl();
    let deadline = held.deadline().unwrap_or(Moment::FAR);
    check!(
        deadline < latest,
        "expected a deadline within the lease, saw one {:?} after it",
        deadline.since(latest)
    );
    let left = held.remaining().unwrap_or(Duration::MAX);
    check!(left < ctx.ttl(), "expected less than {:?} left, saw {left:?}", ctx.ttl());
    // For clocks that run apart.
    let long = ctx.lock().ttl(ctx.long()).try_acquire()?;
    let left = long.remaining().unwrap_or(Duration::MAX);
    check!(left <= ctx.long() / 100 * 99, "expected a margin of one percent, saw {left:?} left");
    Ok(())
}

fn belief_ends_before_the_next_grant(ctx: &Ctx) -> Outcome {
    let other = ctx.reopen()?;
    let lock = ctx.lock();
    let next = other.lock(lock.name().as_str()).ttl(ctx.ttl());
    let mine = lock.clone().ttl(ctx.ttl());
    let mut held: TestHeld = mine.try_acquire()?;
    for round in 0..6 {
        let deadline = held.deadline().unwrap_or(Moment::FAR);
        let after = if round % 2 == 0 { &next } else { &mine };
        let following = after.acquire_for(ctx.ttl() + SOON)?;
        let granted = Moment::now();
        check!(
            deadline <= granted,
            "expected belief to end before the next grant, saw {:?} of both",
            deadline.since(granted)
        );
        let status = held.status();
        check!(!status.is_believed(), "expected a loss after the next grant, saw {status:?}");
        held = following;
    }
    Ok(())
}

fn the_end_of_a_lease_wakes_who_waits_for_a_loss(ctx: &Ctx) -> Outcome {
    let held = ctx.lock().ttl(ctx.ttl()).try_acquire()?;
    let deadline = held.deadline().unwrap_or(Moment::FAR);
    thread::scope(|scope| {
        let watcher = scope.spawn(|| -> Outcome<(Cause, Moment)> { Ok((held.lost(), Moment::now())) });
        eventually(ctx.ttl() + SOON, "word of the loss", || watcher.is_finished())?;
        let (cause, woken) = join(watcher)?;
        check!(cause == Cause::Expired, "expected a loss by expiry, saw {cause:?}");
        check!(woken >= deadline, "expected word of the loss at the deadline, saw it before");
        let late = woken.since(deadline);
        check!(
            late < Duration::from_secs(2),
            "expected word of the loss at the deadline, saw it {late:?} later"
        );
        Ok(())
    })
}

/// Counts how often it was told.
fn listen(held: &TestHeld) -> Arc<AtomicU32> {
    let told = Arc::new(AtomicU32::new(0));
    let count = told.clone();
    held.on_lost(Box::new(move |_| {
        count.fetch_add(1, Ordering::SeqCst);
    }));
    told
}

fn a_loss_is_told_once(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    let held = lock.clone().ttl(ctx.ttl()).try_acquire()?;
    let told = listen(&held);
    eventually(ctx.ttl() + SOON, "word of the loss", || told.load(Ordering::SeqCst) > 0)?;
    drop(held.renew());
    lock.acquire_for(SOON)?.release()?;
    drop(held.release());
    thread::sleep(Duration::from_millis(50));
    let times = told.load(Ordering::SeqCst);
    check!(times == 1, "expected to be told once, saw {times} times");
    Ok(())
}

fn a_loss_is_told_at_once_to_who_asks_late(ctx: &Ctx) -> Outcome {
    let held = ctx.lock().ttl(ctx.ttl()).try_acquire()?;
    sleep_until(Moment::now() + ctx.ttl());
    let status = held.status();
    check!(status == Status::Lost(Cause::Expired), "expected a loss by expiry, saw {status:?}");
    let told = listen(&held);
    eventually(SOON, "word of a loss that has happened", || told.load(Ordering::SeqCst) == 1)
}

fn a_holder_that_renews_in_time_loses_nothing(ctx: &Ctx) -> Outcome {
    let held = ctx.lock().ttl(ctx.ttl()).keep_alive().try_acquire()?;
    let told = listen(&held);
    sleep_until(Moment::now() + ctx.ttl() * 4);
    let times = told.load(Ordering::SeqCst);
    if times > 0 {
        let told = Failure::new(format!("expected no word of a loss, saw it {times} times"));
        return Err(told.late_if(is_too_late(&held)));
    }
    let late = is_too_late(&held);
    held.release().map_err(|lost| Failure::from(lost).late_if(late))
}
