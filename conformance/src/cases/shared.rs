//! Locks that readers share.

use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use tenure_core::{Breaking, Kind, Mode, Moment, Status};

use crate::agent::Agent;
use crate::case::cases;
use crate::ctx::{
    Ctx, SOON, denied, eventually, free_within, growing, join, join_all, refused, sleep_until, taken_until,
};
use crate::failure::{Outcome, check};
use crate::subject::{Options, Sharing};

cases! {
    readers_share_a_lock needs [Sharing] breaks [SharesWithNobody];
    a_writer_keeps_readers_out needs [Sharing] breaks [SharesBesideAHolder];
    readers_keep_a_writer_out needs [Sharing] breaks [HolderBesideShares];
    the_last_reader_lets_a_writer_in needs [Sharing] breaks [ReleasesAllShares];
    a_readers_release_is_its_own needs [Sharing] breaks [ReleasesAllShares];
    a_readers_late_release_harms_nobody needs [Sharing] breaks [LateReleaseFrees];
    a_readers_lease_ends_by_itself needs [Sharing] breaks [NeverExpires];
    a_reader_of_a_living_lock_can_expire_alone needs [Sharing] breaks [SharesLiveTogether];
    readers_renew_for_themselves needs [Sharing] breaks [RenewsAllShares];
    fences_grow_over_readers_and_writers needs [Sharing] breaks [OneFenceForAllShares];
    a_waiting_writer_is_not_starved_by_readers needs [Sharing] breaks [ReadersOvertakeWriters];
    a_released_writer_lets_all_waiting_readers_in needs [Sharing] breaks [SharesWithNobody];
    a_broken_shared_lock_is_lost_to_all_its_readers needs [Sharing, Inspect] breaks [ForceTakesOneShare];
    readers_are_shown_as_readers needs [Sharing, Inspect] breaks [HidesSharing];
    processes_share_a_lock needs [Sharing, Processes] breaks [LocksPerProcess];
}

fn readers_share_a_lock(ctx: &Ctx) -> Outcome {
    let (name, other) = (ctx.name(), ctx.reopen()?);
    let first = ctx.subject.lock(&name).shared().try_acquire()?;
    let second = ctx.subject.lock(&name).shared().acquire_for(SOON)?;
    let third = other.lock(&name).shared().try_acquire()?;
    for held in [first, second, third] {
        let status = held.status();
        check!(status == Status::Held, "expected every reader to hold its share, saw {status:?}");
        held.release()?;
    }
    ctx.subject.lock(&name).try_acquire()?.release()?;
    Ok(())
}

fn a_writer_keeps_readers_out(ctx: &Ctx) -> Outcome {
    let (lock, other) = (ctx.lock(), ctx.reopen()?);
    let writer = lock.try_acquire()?;
    denied(lock.clone().shared().try_acquire(), "a reader of a lock that is held alone")?;
    denied(other.lock(lock.name().as_str()).shared().try_acquire(), "the same, another handle")?;
    writer.release()?;
    lock.shared().try_acquire()?.release()?;
    Ok(())
}

fn readers_keep_a_writer_out(ctx: &Ctx) -> Outcome {
    let (lock, other) = (ctx.lock(), ctx.reopen()?);
    let reader = lock.clone().shared().try_acquire()?;
    denied(lock.try_acquire(), "a writer beside a reader")?;
    denied(other.lock(lock.name().as_str()).try_acquire(), "the same, another handle")?;
    reader.release()?;
    lock.try_acquire()?.release()?;
    Ok(())
}

fn the_last_reader_lets_a_writer_in(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    let readers: Vec<_> = (0..3).map(|_| lock.clone().shared().try_acquire()).collect::<Result<_, _>>()?;
    let mut left = readers.len();
    for reader in readers {
        denied(lock.try_acquire(), &format!("a writer beside {left} readers"))?;
        reader.release()?;
        left -= 1;
    }
    lock.try_acquire()?.release()?;
    Ok(())
}

fn a_readers_release_is_its_own(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    let (first, second) = (lock.clone().shared().try_acquire()?, lock.clone().shared().try_acquire()?);
    first.release()?;
    let status = second.status();
    check!(status == Status::Held, "expected the other reader to hold still, saw {status:?}");
    second.renew()?;
    denied(lock.try_acquire(), "a writer beside the reader that is left")?;
    second.release()?;
    Ok(())
}

fn a_readers_late_release_harms_nobody(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    let late = lock.clone().shared().ttl(ctx.ttl()).try_acquire()?;
    sleep_until(Moment::now() + ctx.ttl());
    let next = free_within(&lock, SOON, "a lock whose reader's lease ended")?;
    refused(late.release(), Kind::Lost, "a reader's release after its lease")?;
    denied(lock.clone().shared().try_acquire(), "the writer's lock after that")?;
    next.renew()?;
    next.release()?;
    Ok(())
}

fn a_readers_lease_ends_by_itself(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    let began = Moment::now();
    drop(lock.clone().shared().ttl(ctx.ttl()).release_on_drop(false).try_acquire()?);
    taken_until(&lock, began + ctx.ttl(), "a lock whose reader's lease runs")?;
    free_within(&lock, SOON, "a lock whose reader's lease ended")?.release()?;
    Ok(())
}

fn a_reader_of_a_living_lock_can_expire_alone(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    let short = lock.clone().shared().ttl(ctx.ttl()).try_acquire()?;
    let long = lock.clone().shared().ttl(ctx.long()).try_acquire()?;
    sleep_until(Moment::now() + ctx.ttl() + ctx.grain());
    refused(short.renew(), Kind::Lost, "the renewal of a share whose lease ended")?;
    long.renew()?;
    denied(lock.try_acquire(), "a writer beside the reader that is left")?;
    long.release()?;
    lock.try_acquire()?.release()?;
    Ok(())
}

fn readers_renew_for_themselves(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    let renewed = lock.clone().shared().ttl(ctx.ttl() * 4).try_acquire()?;
    let other = lock.clone().shared().ttl(ctx.ttl()).try_acquire()?;
    renewed.renew_for(ctx.ttl() * 6)?;
    sleep_until(Moment::now() + ctx.ttl() + ctx.grain());
    refused(other.renew(), Kind::Lost, "a share that another reader's renewal must not keep")?;
    renewed.renew()?;
    renewed.release()?;
    lock.try_acquire()?.release()?;
    Ok(())
}

fn fences_grow_over_readers_and_writers(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    let mut fences = Vec::new();
    for _ in 0..5 {
        let writer = lock.try_acquire()?;
        fences.push(writer.fence());
        writer.release()?;
        let readers: Vec<_> =
            (0..3).map(|_| lock.clone().shared().try_acquire()).collect::<Result<_, _>>()?;
        fences.extend(readers.iter().map(|reader| reader.fence()));
        for reader in readers {
            reader.release()?;
        }
    }
    growing(&fences, "readers and writers in turn")
}

fn a_waiting_writer_is_not_starved_by_readers(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    // Elsewhere, where they do not stand in one line with the writer.
    let elsewhere = [ctx.reopen()?, ctx.reopen()?];
    let end = Moment::now() + SOON;
    thread::scope(|scope| {
        // Readers that overlap, so that there is never none of them.
        let readers: Vec<_> = elsewhere
            .iter()
            .cycle()
            .take(4)
            .enumerate()
            .map(|(index, store)| {
                let lock = store.lock(lock.name().as_str()).shared();
                scope.spawn(move || -> Outcome {
                    thread::sleep(Duration::from_millis(5 * index as u64));
                    while Moment::now() < end {
                        match lock.acquire_for(Duration::from_millis(500)) {
                            Ok(held) => {
                                thread::sleep(Duration::from_millis(20));
                                held.release()?;
                            }
                            // The writer holds it, and the case is over.
                            Err(error) if error.is_timed_out() => return Ok(()),
                            Err(error) => return Err(error.into()),
                        }
                    }
                    Ok(())
                })
            })
            .collect();
        thread::sleep(Duration::from_millis(60));
        let began = Moment::now();
        let writer = lock.acquire_for(SOON);
        let waited = Moment::now().since(began);
        join_all(readers)?;
        writer?.release()?;
        check!(waited < SOON / 2, "expected the writer among readers soon, saw it after {waited:?}");
        Ok(())
    })
}

fn a_released_writer_lets_all_waiting_readers_in(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    let writer = lock.try_acquire()?;
    let inside = AtomicU32::new(0);
    thread::scope(|scope| {
        let reader = |_| {
            scope.spawn(|| -> Outcome<Moment> {
                let held = lock.clone().shared().acquire_for(SOON)?;
                let seen = Moment::now();
                inside.fetch_add(1, Ordering::SeqCst);
                eventually(SOON, "four readers inside at once", || inside.load(Ordering::SeqCst) == 4)?;
                held.release()?;
                Ok(seen)
            })
        };
        let readers: Vec<_> = (0..4).map(reader).collect();
        ctx.until_waiting(&lock, 4)?;
        let released = Moment::now();
        writer.release()?;
        let last = join_all(readers)?.into_iter().max();
        let waited = last.map(|last| last.since(released)).unwrap_or_default();
        let limit = ctx.settings().recheck() * 2 / 5;
        check!(waited < limit, "expected all readers soon after the writer, saw the last after {waited:?}");
        Ok(())
    })
}

fn a_broken_shared_lock_is_lost_to_all_its_readers(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    for breaking in [Breaking::Safe, Breaking::Now] {
        let readers = [lock.clone().shared().try_acquire()?, lock.clone().shared().try_acquire()?];
        ctx.subject.inspect().force_release(&lock.name(), breaking, "because")?;
        if breaking == Breaking::Safe {
            denied(lock.try_acquire(), "a broken lock whose readers have not let go")?;
        }
        for reader in readers {
            refused(reader.renew(), Kind::Lost, "the renewal of a broken share")?;
            refused(reader.release(), Kind::Lost, "the release of a broken share")?;
        }
        lock.try_acquire()?.release()?;
    }
    Ok(())
}

fn readers_are_shown_as_readers(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    let readers = [lock.clone().shared().try_acquire()?, lock.clone().shared().try_acquire()?];
    let seen = ctx.subject.inspect().inspect(&lock.name())?;
    let mode = seen.as_ref().map(|holder| holder.mode());
    check!(mode == Some(Mode::Shared), "expected a shared lock, saw {seen:?}");
    let listed = ctx.subject.inspect().list(lock.name().as_str())?;
    let shared = listed.iter().all(|holder| holder.mode() == Mode::Shared);
    check!(shared && listed.len() == 2, "expected two readers in the list, saw {listed:?}");
    for reader in readers {
        reader.release()?;
    }
    Ok(())
}

fn processes_share_a_lock(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    let mut agents: Vec<Agent> = (0..2).map(|_| ctx.agent()).collect::<Outcome<_>>()?;
    let options = Options { sharing: Sharing::Shared, ..Options::default() };
    let here = lock.clone().shared().try_acquire()?;
    for agent in &mut agents {
        agent.take(lock.name().as_str(), &options)?;
    }
    denied(lock.try_acquire(), "a writer beside readers of other processes")?;
    here.release()?;
    agents[0].release(lock.name().as_str())?.done()?;
    denied(lock.try_acquire(), "a writer beside the last reader, of another process")?;
    thread::scope(|scope| {
        let writer = scope.spawn(|| -> Outcome { Ok(lock.acquire_for(SOON)?.release()?) });
        agents[1].release(lock.name().as_str())?.done()?;
        join(writer)
    })
}
