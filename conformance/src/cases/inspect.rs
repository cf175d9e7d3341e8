//! Looking at locks from outside.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};

use tenure_core::Moment;

use crate::case::cases;
use crate::ctx::{Ctx, SOON, denied, eventually, join, sleep_until};
use crate::failure::{Failure, Outcome, check};
use crate::subject::{Options, Subject, TestLock};

cases! {
    a_holder_can_be_seen rows [23] needs [Inspect] breaks [ShowsNobody];
    a_free_name_shows_nobody rows [23] needs [Inspect] breaks [ShowsTheLast];
    an_expired_holder_is_not_shown rows [23] needs [Inspect] breaks [ShowsTheExpired];
    looking_changes_nothing defects [3] needs [Inspect] breaks [LookingRenews];
    looking_never_takes_the_next_holders_lock defects [3] needs [Inspect] breaks [LookingClears];
    a_list_shows_what_is_held_in_order rows [23] needs [Inspect] breaks [ListsUnsorted];
    a_list_shows_names_as_they_are rows [23] defects [19, 20] needs [Inspect] breaks [ListsShortenedNames];
    a_list_ends_at_the_prefix rows [1, 2] needs [Inspect] breaks [ListsOtherPrefixes];
    another_process_can_be_seen rows [39] needs [Inspect, Processes] breaks [ShowsOnlyItsOwn];
    a_name_that_is_kept_closed_can_be_seen needs [Inspect] breaks [HidesKeptNames];
}

fn a_holder_can_be_seen(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock().ttl(ctx.long()).label("the case");
    let held = lock.try_acquire()?;
    let Some(seen) = ctx.subject.inspect().inspect(&lock.name())? else {
        return Err(Failure::new("expected a holder, saw nobody"));
    };
    check!(seen.fence() == held.fence(), "expected fence {}, saw {}", held.fence(), seen.fence());
    check!(seen.label() == "the case", "expected the label \"the case\", saw {:?}", seen.label());
    check!(seen.name() == &lock.name(), "expected the name {:?}, saw {:?}", lock.name(), seen.name());
    let age = seen.since().map(|since| SystemTime::now().duration_since(since).unwrap_or_default());
    check!(age.is_none_or(|age| age < SOON), "expected a grant of just now, saw one {age:?} old");
    let left = seen.remaining().unwrap_or_default();
    check!(left <= ctx.long() && left > ctx.long() / 2, "expected about {:?} left, saw {left:?}", ctx.long());
    check!(seen.breaking().is_none(), "expected no force release, saw {:?}", seen.breaking());
    held.release()?;
    Ok(())
}

fn nobody(ctx: &Ctx, lock: &TestLock, when: &str) -> Outcome {
    let seen = ctx.subject.inspect().inspect(&lock.name())?;
    check!(seen.is_none(), "expected nobody {when}, saw {seen:?}");
    let listed = ctx.subject.inspect().list(lock.name().as_str())?;
    check!(listed.is_empty(), "expected an empty list {when}, saw {listed:?}");
    Ok(())
}

fn a_free_name_shows_nobody(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    nobody(ctx, &lock, "before the first grant")?;
    lock.try_acquire()?.release()?;
    nobody(ctx, &lock, "after a release")?;
    drop(lock.try_acquire()?);
    let began = Moment::now();
    while nobody(ctx, &lock, "after a drop").is_err() {
        let late = Moment::now().since(began) > ctx.subject.store().lets_go_within();
        check!(!late, "expected nobody after a drop, saw its holder");
    }
    Ok(())
}

fn an_expired_holder_is_not_shown(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock().ttl(ctx.ttl()).release_on_drop(false);
    drop(lock.try_acquire()?);
    sleep_until(Moment::now() + ctx.ttl() + ctx.grain());
    nobody(ctx, &lock, "after the end of the lease")
}

fn looking_changes_nothing(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    let held = lock.clone().ttl(ctx.ttl() * 2).try_acquire()?;
    let end = Moment::now() + ctx.ttl() * 2;
    let mut before = Duration::MAX;
    while Moment::now() < end {
        if let Some(seen) = ctx.subject.inspect().inspect(&lock.name())? {
            let left = seen.remaining().unwrap_or(Duration::MAX);
            check!(left <= before, "expected the lease to go on ending, saw {left:?} after {before:?}");
            before = left;
        }
        ctx.subject.inspect().list(lock.name().as_str())?;
        thread::sleep(Duration::from_millis(5));
    }
    eventually(SOON, "the end of a lease that somebody looks at", || lock.try_acquire().is_ok())?;
    drop(held);
    Ok(())
}

fn looking_never_takes_the_next_holders_lock(ctx: &Ctx) -> Outcome {
    let other = ctx.reopen()?;
    (0..3).try_for_each(|_| look_while_taking(ctx, &other))
}

/// One takes expired names in order while another looks at them from the last to the first, so that
/// they meet.
fn look_while_taking(ctx: &Ctx, other: &Subject) -> Outcome {
    let (begun, over) = (AtomicBool::new(false), AtomicBool::new(false));
    let locks: Vec<_> = (0..40).map(|_| ctx.lock()).collect();
    let options = Options { release_on_drop: Some(false), ..Options::ttl(ctx.ttl()) };
    for lock in &locks {
        drop(ctx.subject.lock_with(lock.name().as_str(), options.clone()).try_acquire()?);
    }
    ctx.outlive(ctx.ttl());
    thread::scope(|scope| {
        let looking = scope.spawn(|| -> Outcome {
            while !over.load(Ordering::Relaxed) {
                for lock in locks.iter().rev() {
                    begun.store(true, Ordering::Relaxed);
                    other.inspect().inspect(&lock.name())?;
                }
                other.inspect().list(ctx.case)?;
            }
            Ok(())
        });
        let taking = || -> Outcome {
            eventually(SOON, "a look", || begun.load(Ordering::Relaxed) || looking.is_finished())?;
            let held = locks.iter().map(TestLock::try_acquire).collect::<Result<Vec<_>, _>>()?;
            thread::sleep(Duration::from_millis(50));
            for (lock, held) in locks.iter().zip(held) {
                denied(lock.try_acquire(), "an expired name that was taken while others looked at it")?;
                held.release()?;
            }
            Ok(())
        };
        let taken = taking();
        over.store(true, Ordering::Relaxed);
        join(looking)?;
        taken
    })
}

fn a_list_shows_what_is_held_in_order(ctx: &Ctx) -> Outcome {
    let start = ctx.name();
    let names = ["b", "a", "c", "B", "\u{e9}", "aa"].map(|ending| format!("{start}/{ending}"));
    let held =
        names.iter().map(|name| ctx.subject.lock(name).try_acquire()).collect::<Result<Vec<_>, _>>()?;
    let free = ctx.subject.lock(format!("{start}/free"));
    free.try_acquire()?.release()?;
    let listed = ctx.subject.inspect().list(&format!("{start}/"))?;
    let seen: Vec<_> = listed.iter().map(|holder| holder.name().to_string()).collect();
    let mut expected = names.to_vec();
    expected.sort();
    check!(seen == expected, "expected {expected:?}, saw {seen:?}");
    for held in held {
        let shown = listed.iter().any(|holder| holder.fence() == held.fence());
        check!(shown, "expected fence {} in the list, saw {listed:?}", held.fence());
        held.release()?;
    }
    nobody(ctx, &ctx.subject.lock(format!("{start}/")), "when all are released")
}

fn a_list_shows_names_as_they_are(ctx: &Ctx) -> Outcome {
    let start = ctx.name();
    let long = "l".repeat(1000);
    let endings = ["%3A", "~", " ", "\0", "../x", "{a}", long.as_str(), "e\u{301}"];
    let names = endings.map(|ending| format!("{start}/{ending}"));
    let held =
        names.iter().map(|name| ctx.subject.lock(name).try_acquire()).collect::<Result<Vec<_>, _>>()?;
    let listed = ctx.subject.inspect().list(&start)?;
    let seen: Vec<_> = listed.iter().map(|holder| holder.name().to_string()).collect();
    for name in &names {
        check!(seen.contains(name), "expected {name:?} in the list, saw {seen:?}");
    }
    check!(seen.len() == names.len(), "expected {} names, saw {seen:?}", names.len());
    drop(held);
    Ok(())
}

fn a_list_ends_at_the_prefix(ctx: &Ctx) -> Outcome {
    let name = ctx.name();
    let other = ctx.open_with(ctx.settings().with_prefix("elsewhere:")?)?;
    let held = other.lock(&name).try_acquire()?;
    nobody(ctx, &ctx.subject.lock(&name), "under this prefix")?;
    let there = other.inspect().list(&name)?;
    check!(there.len() == 1, "expected the lock under its own prefix, saw {there:?}");
    held.release()?;
    Ok(())
}

fn another_process_can_be_seen(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    let mut agent = ctx.agent()?;
    let options = Options { label: Some("an agent".into()), ..Options::default() };
    let taken = agent.take(lock.name().as_str(), &options)?;
    let seen = ctx.subject.inspect().inspect(&lock.name())?;
    let facts = seen.as_ref().map(|seen| (seen.fence(), seen.label()));
    check!(facts == Some((taken.fence, "an agent")), "expected the agent's lock, saw {seen:?}");
    agent.release(lock.name().as_str())?.done()?;
    let mut other = ctx.agent()?;
    other.take(lock.name().as_str(), &Options::default())?;
    let seen = ctx.subject.inspect().inspect(&lock.name())?;
    check!(seen.as_ref().is_some_and(|seen| !seen.label().is_empty()), "expected a label, saw {seen:?}");
    other.release(lock.name().as_str())?.done()?;
    Ok(())
}

fn a_name_that_is_kept_closed_can_be_seen(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    lock.clone().hold_at_least(ctx.long()).try_acquire()?.release()?;
    let seen = ctx.subject.inspect().inspect(&lock.name())?;
    check!(seen.is_some(), "expected a name that stays taken to be shown, saw nobody");
    Ok(())
}
