//! Locks with a number of permits.

use std::sync::Barrier;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use tenure_core::{Kind, Moment};

use crate::agent::{Agent, Command};
use crate::case::cases;
use crate::ctx::{Ctx, SOON, denied, eventually, free_within, growing, join, join_all, refused, sleep_until};
use crate::driver::TestHeld;
use crate::failure::{Outcome, check};
use crate::subject::{Options, Sharing, Subject, TestLock};

cases! {
    as_many_hold_permits_as_there_are needs [Permits] breaks [OnePermitTooFew];
    one_more_than_there_are_permits_is_denied needs [Permits] breaks [OnePermitTooMany];
    a_released_permit_goes_to_the_next needs [Permits] breaks [ForgetsToFree];
    a_permits_lease_ends_by_itself needs [Permits] breaks [SharesLiveTogether];
    a_permits_late_release_frees_no_other needs [Permits] breaks [LateReleaseFrees];
    permits_keep_a_writer_out needs [Permits] breaks [SharesBesideAHolder, HolderBesideShares];
    threads_never_hold_more_permits_than_there_are needs [Permits] breaks [LooksThenTakes, OnePermitTooFew];
    processes_never_hold_more_permits_than_there_are needs [Permits, Processes] breaks [LocksPerProcess];
    a_name_that_is_new_has_no_more_permits_than_there_are needs [Permits] breaks [LooksThenTakes];
    a_permit_counts_against_the_limit_of_who_asks needs [Permits] breaks [PermitsKeepTheFirstLimit];
    fences_grow_over_permits needs [Permits] breaks [OneFenceForAllShares];
    a_waiter_gets_a_permit_that_expires needs [Permits] breaks [SharesLiveTogether];
    a_waiter_gets_one_permit_when_several_expire needs [Permits] breaks [TwoPermitsForAWaiter];
}

fn as_many_hold_permits_as_there_are(ctx: &Ctx) -> Outcome {
    let (lock, other) = (ctx.lock().permit(3), ctx.reopen()?);
    let other = other.lock(lock.name().as_str()).permit(3);
    let held = [lock.try_acquire()?, other.try_acquire()?, lock.acquire_for(SOON)?];
    for held in held {
        held.renew()?;
        held.release()?;
    }
    Ok(())
}

fn one_more_than_there_are_permits_is_denied(ctx: &Ctx) -> Outcome {
    let (lock, other) = (ctx.lock().permit(2), ctx.reopen()?);
    let other = other.lock(lock.name().as_str()).permit(2);
    let held = [lock.try_acquire()?, lock.try_acquire()?];
    denied(lock.try_acquire(), "a third of two permits")?;
    denied(other.try_acquire(), "the same, another handle")?;
    refused(lock.acquire_for(Duration::from_millis(50)), Kind::TimedOut, "a wait for a third permit")?;
    for held in held {
        held.release()?;
    }
    lock.try_acquire()?.release()?;
    Ok(())
}

fn a_released_permit_goes_to_the_next(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock().permit(2);
    let (first, second) = (lock.try_acquire()?, lock.try_acquire()?);
    thread::scope(|scope| {
        let waiter = scope.spawn(|| -> Outcome<Moment> {
            lock.acquire_for(SOON)?.release()?;
            Ok(Moment::now())
        });
        ctx.until_waiting(&lock, 1)?;
        let released = Moment::now();
        first.release()?;
        let waited = join(waiter)?.since(released);
        let limit = ctx.settings().recheck() * 2 / 5;
        check!(waited < limit, "expected the permit soon after its release, saw it after {waited:?}");
        Ok(())
    })?;
    second.renew()?;
    second.release()?;
    Ok(())
}

fn a_permits_lease_ends_by_itself(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock().permit(2);
    let began = Moment::now();
    let long = lock.clone().ttl(ctx.long()).try_acquire()?;
    drop(lock.clone().ttl(ctx.ttl()).release_on_drop(false).try_acquire()?);
    denied(lock.try_acquire(), "a third of two permits")?;
    let next = free_within(&lock, ctx.ttl() + SOON, "a permit whose lease ended")?;
    let passed = Moment::now().since(began);
    check!(passed >= ctx.ttl(), "expected the permit to last {:?}, saw it free after {passed:?}", ctx.ttl());
    long.renew()?;
    long.release()?;
    next.release()?;
    Ok(())
}

fn a_permits_late_release_frees_no_other(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock().permit(2);
    let late = lock.clone().ttl(ctx.ttl()).try_acquire()?;
    sleep_until(Moment::now() + ctx.ttl());
    let first = free_within(&lock, SOON, "a permit whose lease ended")?;
    let second = free_within(&lock, SOON, "the other permit")?;
    refused(late.release(), Kind::Lost, "the release of a permit after its lease")?;
    denied(lock.try_acquire(), "a third of two permits after that")?;
    first.release()?;
    second.release()?;
    Ok(())
}

fn permits_keep_a_writer_out(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    let held = lock.clone().permit(5).try_acquire()?;
    denied(lock.try_acquire(), "a writer beside a permit")?;
    held.release()?;
    let writer = lock.try_acquire()?;
    denied(lock.clone().permit(5).try_acquire(), "a permit beside a writer")?;
    writer.release()?;
    Ok(())
}

fn threads_never_hold_more_permits_than_there_are(ctx: &Ctx) -> Outcome {
    let (lock, other) = (ctx.lock().permit(3), ctx.reopen()?);
    let other = other.lock(lock.name().as_str()).permit(3);
    let (inside, most) = (AtomicU32::new(0), AtomicU32::new(0));
    let work = |lock: &TestLock| -> Outcome {
        for _ in 0..20 {
            let held = lock.acquire_for(Duration::from_secs(60))?;
            most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            // The first ones wait for each other; those after them stay for whoever else might come in.
            eventually(SOON, "three holders at once", || most.load(Ordering::SeqCst) >= 3)?;
            thread::sleep(Duration::from_millis(2));
            inside.fetch_sub(1, Ordering::SeqCst);
            held.release()?;
        }
        Ok(())
    };
    thread::scope(|scope| {
        let threads = (0..8).map(|index| {
            let (work, lock) = (&work, if index % 2 == 0 { &lock } else { &other });
            scope.spawn(move || work(lock))
        });
        join_all(threads.collect())
    })?;
    let most = most.into_inner();
    check!(most == 3, "expected 3 holders at once and no more, saw {most}");
    Ok(())
}

fn processes_never_hold_more_permits_than_there_are(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    // Each keeps what it gets, although it gets the one name several times.
    let kept = Options { release_on_drop: Some(false), ..Options::ttl(ctx.long()) };
    let options = Options { sharing: Sharing::Permit(4), ..kept };
    let mut agents: Vec<Agent> = (0..3).map(|_| ctx.agent()).collect::<Outcome<_>>()?;
    let at = (Moment::now() + Duration::from_millis(100)).as_nanos();
    // Each tries the one name often enough to take more than its part.
    let names = vec![lock.name().to_string(); 8];
    for agent in &mut agents {
        agent.send(&Command::Race { names: names.clone(), options: options.clone(), at })?;
    }
    let won = agents.iter_mut().map(|agent| Ok(agent.answer()?.won()?.len())).collect::<Outcome<Vec<_>>>()?;
    let all: usize = won.iter().sum();
    check!(all == 4, "expected 4 permits to be granted, saw {won:?}");
    Ok(())
}

fn a_name_that_is_new_has_no_more_permits_than_there_are(ctx: &Ctx) -> Outcome {
    const THREADS: usize = 6;
    let names: Vec<_> = (0..100).map(|_| ctx.name()).collect();
    let subjects = [ctx.subject.clone(), ctx.reopen()?];
    let start = Barrier::new(THREADS);
    // All ask for two permits of a name that nobody has used yet, and keep what they get.
    let compete = |subject: &Subject| -> Outcome<Vec<(usize, TestHeld)>> {
        let (mut won, mut unexpected) = (Vec::new(), None);
        for (index, name) in names.iter().enumerate() {
            let lock = subject.lock(name).permit(2);
            start.wait();
            match lock.try_acquire() {
                Ok(held) => won.push((index, held)),
                Err(error) if error.is_contended() => {}
                // Not before the last name: the others wait at the barrier for this thread.
                Err(error) => unexpected = Some(error),
            }
        }
        unexpected.map_or(Ok(won), |error| Err(error.into()))
    };
    let won = thread::scope(|scope| {
        let threads = (0..THREADS).map(|index| {
            let (compete, subject) = (&compete, &subjects[index % 2]);
            scope.spawn(move || compete(subject))
        });
        join_all(threads.collect())
    })?;
    let mut permits = vec![0; names.len()];
    for (index, _) in won.iter().flatten() {
        permits[*index] += 1;
    }
    let wrong = permits.iter().filter(|count| **count != 2).count();
    check!(wrong == 0, "expected 2 permits of each name, saw another number in {wrong} of {}", names.len());
    Ok(())
}

fn a_permit_counts_against_the_limit_of_who_asks(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    let (two, three) = (lock.clone().permit(2), lock.permit(3));
    let held = [two.try_acquire()?, two.try_acquire()?];
    denied(two.try_acquire(), "a third of two permits")?;
    let third = three.try_acquire()?;
    denied(three.try_acquire(), "a fourth of three permits")?;
    let [first, second] = held;
    first.release()?;
    denied(two.try_acquire(), "one of two permits beside two holders")?;
    second.release()?;
    let again = two.try_acquire()?;
    again.release()?;
    third.release()?;
    Ok(())
}

fn fences_grow_over_permits(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock().permit(3);
    let mut fences = Vec::new();
    for _ in 0..5 {
        let held = [lock.try_acquire()?, lock.try_acquire()?, lock.try_acquire()?];
        fences.extend(held.iter().map(|held| held.fence()));
        for held in held {
            held.release()?;
        }
    }
    growing(&fences, "one permit after another")
}

fn a_waiter_gets_a_permit_that_expires(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock().permit(2);
    let long = lock.clone().ttl(ctx.long()).try_acquire()?;
    let began = Moment::now();
    drop(lock.clone().ttl(ctx.ttl()).release_on_drop(false).try_acquire()?);
    lock.acquire_for(ctx.ttl() + SOON / 2)?.release()?;
    let waited = Moment::now().since(began);
    check!(waited >= ctx.ttl(), "expected the permit no earlier than its lease, saw it after {waited:?}");
    long.release()?;
    Ok(())
}

/// Waiters wake up together, in any order, and one that finds the permits free may ask on behalf of all.
fn a_waiter_gets_one_permit_when_several_expire(ctx: &Ctx) -> Outcome {
    thread::scope(|scope| {
        let rounds = (0..8).map(|_| scope.spawn(|| two_waiters_beside_three_permits(ctx)));
        join_all(rounds.collect()).map(drop)
    })
}

fn two_waiters_beside_three_permits(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock().permit(3);
    let expiring = lock.clone().ttl(ctx.ttl()).release_on_drop(false);
    for _ in 0..3 {
        drop(expiring.try_acquire()?);
    }
    let waiters = thread::scope(|scope| {
        let wait = || scope.spawn(|| -> Outcome<_> { Ok(lock.acquire_for(ctx.ttl() + SOON)?) });
        join_all(vec![wait(), wait()])
    })?;
    let third = free_within(&lock, SOON, "a third permit beside two waiters that have theirs")?;
    denied(lock.try_acquire(), "a fourth of three permits")?;
    for held in waiters.into_iter().chain([third]) {
        held.release()?;
    }
    let again = [lock.try_acquire()?, lock.try_acquire()?, lock.try_acquire()?];
    for held in again {
        held.release()?;
    }
    Ok(())
}
