//! Many at once: races for one name, and updates that must not get lost.

use std::sync::{Barrier, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use tenure_core::{Fence, Moment};

use crate::agent::{Agent, Command};
use crate::case::cases;
use crate::counter::{self, Counter};
use crate::ctx::{Ctx, SOON, denied, growing, join_all};
use crate::driver::TestHeld;
use crate::failure::{Outcome, check};
use crate::subject::{Options, Subject, TestLock};

cases! {
    one_of_many_threads_wins_a_free_name rows [3, 4] defects [1] breaks [LooksThenTakes];
    one_of_many_threads_wins_an_expired_name rows [14, 15] defects [2]
        breaks [ReplacesTheExpiredInTwoSteps];
    one_of_many_threads_wins_a_released_name rows [7] defects [1] breaks [LooksThenTakes];
    one_of_many_processes_wins_a_free_name rows [39] defects [1] needs [Processes]
        breaks [LocksPerProcess];
    one_of_many_processes_wins_an_expired_name rows [39] defects [2] needs [Processes]
        breaks [ReplacesTheExpiredInTwoSteps];
    one_of_many_processes_wins_a_dead_holders_name rows [39] defects [2, 11] needs [Processes]
        breaks [ReplacesTheExpiredInTwoSteps];
    a_hundred_threads_lose_no_update rows [8] defects [1] breaks [TwoOfEach];
    threads_of_two_handles_lose_no_update rows [8] defects [1] breaks [LocksPerHandle];
    processes_lose_no_update rows [39] defects [1] needs [Processes] breaks [LocksPerProcess, UnlinksOnRelease];
    two_thousand_other_locks_evict_nothing rows [6] defects [5] breaks [ForgetsOldLocks];
}

const RACES: usize = 200;

fn one_of_many_threads_wins_a_free_name(ctx: &Ctx) -> Outcome {
    race(ctx, |_| Ok(()))
}

fn one_of_many_threads_wins_an_expired_name(ctx: &Ctx) -> Outcome {
    race(ctx, |names| {
        let options = Options { release_on_drop: Some(false), ..Options::ttl(ctx.ttl()) };
        for name in names {
            drop(ctx.subject.lock_with(name, options.clone()).try_acquire()?);
        }
        ctx.outlive(ctx.ttl());
        Ok(())
    })
}

fn one_of_many_threads_wins_a_released_name(ctx: &Ctx) -> Outcome {
    race(ctx, |names| {
        for name in names {
            ctx.subject.lock(name).try_acquire()?.release()?;
        }
        Ok(())
    })
}

/// Four threads, two of them through another handle, try each name at once and keep what they get.
fn race(ctx: &Ctx, prepare: impl Fn(&[String]) -> Outcome) -> Outcome {
    let names: Vec<_> = (0..RACES).map(|_| ctx.name()).collect();
    prepare(&names)?;
    let subjects = [ctx.subject.clone(), ctx.reopen()?];
    let start = Barrier::new(4);
    let compete = |subject: &Subject| -> Outcome<Vec<(usize, TestHeld)>> {
        let (mut won, mut unexpected) = (Vec::new(), None);
        for (index, name) in names.iter().enumerate() {
            let lock = subject.lock(name);
            start.wait();
            match lock.try_acquire() {
                Ok(held) => won.push((index, held)),
                Err(error) if error.is_contended() => {}
                // Not before the last race: the others wait at the barrier for this thread.
                Err(error) => unexpected = Some(error),
            }
        }
        match unexpected {
            Some(error) => Err(error.into()),
            None => Ok(won),
        }
    };
    let won = thread::scope(|scope| {
        let threads = (0..4).map(|index| {
            let (compete, subject) = (&compete, &subjects[index % 2]);
            scope.spawn(move || compete(subject))
        });
        join_all(threads.collect())
    })?;
    let mut winners = vec![0; RACES];
    for (index, _) in won.iter().flatten() {
        winners[*index] += 1;
    }
    check_winners(&winners)
}

fn check_winners(winners: &[usize]) -> Outcome {
    let wrong = winners.iter().filter(|count| **count != 1).count();
    let (races, two) = (winners.len(), winners.iter().filter(|count| **count > 1).count());
    check!(
        wrong == 0,
        "expected one winner in each of {races} races, saw several in {two}, none in {}",
        wrong - two
    );
    Ok(())
}

fn one_of_many_processes_wins_a_free_name(ctx: &Ctx) -> Outcome {
    let names: Vec<_> = (0..RACES).map(|_| ctx.name()).collect();
    race_processes(ctx, names)
}

fn one_of_many_processes_wins_an_expired_name(ctx: &Ctx) -> Outcome {
    let names: Vec<_> = (0..RACES).map(|_| ctx.name()).collect();
    let options = Options { release_on_drop: Some(false), ..Options::ttl(ctx.ttl()) };
    for name in &names {
        drop(ctx.subject.lock_with(name, options.clone()).try_acquire()?);
    }
    ctx.outlive(ctx.ttl());
    race_processes(ctx, names)
}

fn one_of_many_processes_wins_a_dead_holders_name(ctx: &Ctx) -> Outcome {
    let names: Vec<_> = (0..RACES).map(|_| ctx.name()).collect();
    let mut holder = ctx.agent()?;
    let options = Options::ttl(ctx.ttl() * 4);
    let race = Command::Race { names: names.clone(), options, at: 0 };
    let held = holder.ask(&race)?.won()?;
    check!(held.len() == RACES, "expected {RACES} free names, saw {}", held.len());
    holder.kill()?;
    ctx.outlive(ctx.ttl() * 4);
    race_processes(ctx, names)
}

/// Three processes try all names from the same moment on.
fn race_processes(ctx: &Ctx, names: Vec<String>) -> Outcome {
    let mut agents: Vec<Agent> = (0..3).map(|_| ctx.agent()).collect::<Outcome<_>>()?;
    let at = (Moment::now() + Duration::from_millis(100)).as_nanos();
    for agent in &mut agents {
        agent.send(&Command::Race { names: names.clone(), options: Options::ttl(ctx.long()), at })?;
    }
    let mut winners = vec![0; names.len()];
    for agent in &mut agents {
        for index in agent.answer()?.won()? {
            winners[index] += 1;
        }
    }
    check_winners(&winners)
}

fn a_hundred_threads_lose_no_update(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    hammer(&[lock], 100, 5)
}

fn threads_of_two_handles_lose_no_update(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    let other = ctx.reopen()?.lock(lock.name().as_str());
    hammer(&[lock, other], 16, 15)
}

/// Threads increment a counter in two steps under a lock, and note its fences in that order.
fn hammer(locks: &[TestLock], threads: usize, rounds: usize) -> Outcome {
    let counter = Counter::default();
    let fences: Mutex<Vec<Fence>> = Mutex::default();
    let work = |lock: &TestLock| -> Outcome {
        for _ in 0..rounds {
            let held = lock.acquire_for(Duration::from_secs(60))?;
            counter.increment();
            fences.lock().unwrap_or_else(PoisonError::into_inner).push(held.fence());
            held.release()?;
        }
        Ok(())
    };
    thread::scope(|scope| {
        let threads = (0..threads).map(|index| {
            let (work, lock) = (&work, &locks[index % locks.len()]);
            scope.spawn(move || work(lock))
        });
        join_all(threads.collect())
    })?;
    let (expected, count) = ((threads * rounds) as u64, counter.count());
    check!(count == expected, "expected {expected} increments, {} got lost", expected - count);
    growing(&fences.into_inner().unwrap_or_else(PoisonError::into_inner), "grants in their order")
}

fn processes_lose_no_update(ctx: &Ctx) -> Outcome {
    let (name, file) = (ctx.name(), ctx.file("counter"));
    let mut agents: Vec<Agent> = (0..4).map(|_| ctx.agent()).collect::<Outcome<_>>()?;
    for agent in &mut agents {
        agent.send(&Command::Hammer { name: name.clone(), counter: file.clone(), rounds: 25 })?;
    }
    let mut all = Vec::new();
    for agent in &mut agents {
        let fences = agent.answer()?.fences()?;
        growing(&fences, "one process's grants")?;
        all.extend(fences);
    }
    let (granted, count) = (all.len(), counter::count(&file)?);
    check!(count == 100, "expected 100 increments, saw {count}");
    all.sort();
    all.dedup();
    check!(all.len() == granted, "expected {granted} different fences, saw {}", all.len());
    Ok(())
}

fn two_thousand_other_locks_evict_nothing(ctx: &Ctx) -> Outcome {
    let held: Vec<_> = (0..100).map(|_| ctx.lock()).map(|lock| (lock.try_acquire(), lock)).collect();
    for _ in 0..2000 {
        ctx.lock().try_acquire()?.release()?;
    }
    for (held, lock) in held {
        let held = held?;
        held.renew()?;
        denied(lock.try_acquire(), "a lock among many others")?;
        held.release()?;
        lock.acquire_for(SOON)?.release()?;
    }
    Ok(())
}
