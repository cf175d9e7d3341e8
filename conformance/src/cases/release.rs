//! The end of a grant: what it frees, and what it must never free.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::Duration;

use tenure_core::{Kind, Moment};

use crate::case::cases;
use crate::ctx::{Ctx, SOON, denied, free_within, join_all, refused, sleep_until};
use crate::failure::{Outcome, check};
use crate::subject::Options;

cases! {
    a_release_frees_the_name_at_once rows [7, 11] defects [17] breaks [RestsAfterRelease];
    a_dropped_lock_is_free rows [24, 25] defects [12] breaks [ForgetsToFree];
    a_closure_runs_under_the_lock_and_leaves_it_free rows [24, 25] breaks [ForgetsToFree];
    a_panic_under_the_lock_frees_it rows [24, 25] breaks [ReleasesNothingInAPanic];
    a_release_after_expiry_says_lost rows [9, 16, 17] defects [17] breaks [IgnoresTtl];
    a_late_release_never_frees_the_next_owner rows [10, 13, 14, 17] defects [4] breaks [ReleasesWithoutOwnerCheck, LateReleaseFrees];
    a_late_drop_never_frees_the_next_owner rows [10, 13, 14] defects [4] breaks [LateReleaseFrees];
    a_release_at_the_moment_of_expiry_never_frees_the_next_owner rows [14] defects [4]
        breaks [GetThenDelete];
    any_combination_of_options_is_released rows [7] defects [12] breaks [ForgetsToFree];
    a_lock_left_unreleased_stays_until_its_lease_ends rows [15] breaks [FreesWhatWasLeft];
    a_lock_can_be_left_unreleased_by_the_settings rows [15] breaks [IgnoresTheSettings];
    a_dropped_store_keeps_its_locks rows [12] breaks [LocksPerHandle];
}

fn a_release_frees_the_name_at_once(ctx: &Ctx) -> Outcome {
    let (lock, other) = (ctx.lock(), ctx.reopen()?);
    let other = other.lock(lock.name().as_str());
    for _ in 0..20 {
        lock.try_acquire()?.release()?;
        other.try_acquire()?.release()?;
    }
    Ok(())
}

fn a_dropped_lock_is_free(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    {
        let _inside = lock.try_acquire()?;
        denied(lock.try_acquire(), "inside the scope")?;
    }
    ctx.after_drop(&lock)?.release()?;
    Ok(())
}

fn a_closure_runs_under_the_lock_and_leaves_it_free(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    let inside = lock.run(|| lock.try_acquire().is_err_and(|error| error.is_contended()))?;
    check!(inside, "expected the lock to be held inside, saw it free");
    lock.try_acquire()?.release()?;
    Ok(())
}

fn a_panic_under_the_lock_frees_it(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    let held = lock.try_acquire()?;
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let _held = held;
        // Not `panic!`, whose hook would print into the list of cases.
        std::panic::resume_unwind(Box::new("expected by the case"));
    }));
    check!(panicked.is_err(), "expected the panic to go on, saw it end");
    ctx.after_drop(&lock)?.release()?;
    Ok(())
}

fn a_release_after_expiry_says_lost(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock().ttl(ctx.ttl());
    let held = lock.try_acquire()?;
    sleep_until(Moment::now() + ctx.ttl());
    refused(held.release(), Kind::Lost, "a release after the lease")?;
    free_within(&lock, SOON, "a name whose lease ended")?.release()?;
    Ok(())
}

fn a_late_release_never_frees_the_next_owner(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    let late = lock.clone().ttl(ctx.ttl()).try_acquire()?;
    let next = lock.acquire_for(ctx.ttl() + SOON)?;
    refused(late.release(), Kind::Lost, "a release after another took the lock")?;
    denied(lock.try_acquire(), "the next owner's lock after a late release")?;
    next.renew()?;
    next.release()?;
    Ok(())
}

fn a_late_drop_never_frees_the_next_owner(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    let late = lock.clone().ttl(ctx.ttl()).try_acquire()?;
    let next = lock.acquire_for(ctx.ttl() + SOON)?;
    drop(late);
    denied(lock.try_acquire(), "the next owner's lock after a late drop")?;
    next.renew()?;
    next.release()?;
    Ok(())
}

fn a_release_at_the_moment_of_expiry_never_frees_the_next_owner(ctx: &Ctx) -> Outcome {
    let other = ctx.reopen()?;
    thread::scope(|scope| {
        let round = |index: u64| {
            let (lock, next) = (ctx.lock(), other.clone());
            scope.spawn(move || -> Outcome {
                let next = next.lock(lock.name().as_str());
                let late = lock.clone().ttl(ctx.ttl()).try_acquire()?;
                let waiter = thread::scope(|scope| {
                    let waiter = scope.spawn(|| next.acquire_for(ctx.ttl() + SOON));
                    // The later the denser, up to 5 ms after the holder's own deadline, when the store's
                    // lease has ended as well.
                    let latest = late.deadline().unwrap_or(Moment::now()) + Duration::from_millis(5);
                    sleep_until(latest - Duration::from_micros(25 * index * index));
                    drop(late.release());
                    waiter.join()
                });
                let held = waiter.map_err(|_| crate::failure::Failure::new("a waiter panicked"))??;
                denied(lock.try_acquire(), "the next owner's lock after a release at the last moment")?;
                held.release()?;
                Ok(())
            })
        };
        join_all((0..40).map(round).collect()).map(drop)
    })
}

fn any_combination_of_options_is_released(ctx: &Ctx) -> Outcome {
    for bits in 0..16_u8 {
        let bit = |index: u8| bits & (1 << index) != 0;
        let options = Options {
            ttl: bit(0).then(|| ctx.long()),
            keep_alive: bit(1),
            sleep: bit(2).then_some(Duration::from_millis(7)),
            release_on_drop: bit(3).then_some(false),
            label: bit(2).then(|| "somebody".into()),
            ..Options::default()
        };
        let lock = ctx.subject.lock_with(ctx.name(), options);
        lock.try_acquire()?.release()?;
        lock.try_acquire()?.release()?;
    }
    Ok(())
}

fn a_lock_left_unreleased_stays_until_its_lease_ends(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    let began = Moment::now();
    drop(lock.clone().ttl(ctx.ttl()).release_on_drop(false).try_acquire()?);
    crate::ctx::taken_until(&lock, began + ctx.ttl(), "a lock that was left unreleased")?;
    free_within(&lock, SOON, "a lock that was left unreleased, after its lease")?.release()?;
    Ok(())
}

fn a_lock_can_be_left_unreleased_by_the_settings(ctx: &Ctx) -> Outcome {
    let subject = ctx.open_with(ctx.settings().with_release_on_drop(false))?;
    let lock = subject.lock(ctx.name()).ttl(ctx.long());
    drop(lock.try_acquire()?);
    denied(lock.try_acquire(), "a lock that was left unreleased")?;
    let lock = lock.release_on_drop(true);
    let free = subject.lock(ctx.name()).ttl(ctx.long()).release_on_drop(true);
    drop(free.try_acquire()?);
    ctx.after_drop(&free)?.release()?;
    denied(lock.try_acquire(), "a lock that was left unreleased")?;
    Ok(())
}

fn a_dropped_store_keeps_its_locks(ctx: &Ctx) -> Outcome {
    let subject = ctx.reopen()?;
    let lock = subject.lock(ctx.name());
    let held = lock.try_acquire()?;
    let again = ctx.subject.lock(lock.name().as_str());
    drop((lock, subject));
    denied(again.try_acquire(), "a lock whose store handle was dropped")?;
    held.renew()?;
    held.release()?;
    again.try_acquire()?.release()?;
    Ok(())
}
