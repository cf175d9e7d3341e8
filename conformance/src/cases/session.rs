//! Locks without a lease.

use tenure_core::{Breaking, Cause, Kind, Moment, Status};

use crate::case::cases;
use crate::ctx::{Ctx, SOON, denied, free_within, refused, sleep_until};
use crate::failure::{Outcome, check};
use crate::subject::Options;

cases! {
    a_session_lock_has_no_end rows [66] needs [Sessions] breaks [SessionHasALease];
    a_session_lock_excludes_like_any_other rows [4, 7] needs [Sessions] breaks [SessionsApart];
    a_session_ends_with_its_process defects [11] needs [Sessions, Processes] breaks [SessionsOutliveTheDead];
    a_broken_session_is_lost defects [10] needs [Sessions, Inspect] breaks [SessionVerifiesNothing];
}

fn a_session_lock_has_no_end(ctx: &Ctx) -> Outcome {
    let subject = ctx.open_with(ctx.short_lease()?)?;
    let lock = subject.lock(ctx.name());
    let held = lock.clone().session().try_acquire()?;
    let deadline = held.deadline();
    check!(deadline.is_none(), "expected no deadline, saw {deadline:?}");
    sleep_until(Moment::now() + ctx.ttl() * 2);
    denied(lock.try_acquire(), "a session lock")?;
    let status = held.status();
    check!(status == Status::Held, "expected a session lock to be held, saw {status:?}");
    held.renew()?;
    held.release()?;
    Ok(())
}

fn a_session_lock_excludes_like_any_other(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    let session = lock.clone().session();
    let held = session.try_acquire()?;
    denied(lock.try_acquire(), "a leased attempt on a session lock")?;
    denied(session.try_acquire(), "another session")?;
    held.release()?;
    let held = lock.try_acquire()?;
    denied(session.try_acquire(), "a session on a leased lock")?;
    held.release()?;
    drop(session.try_acquire()?);
    ctx.after_drop(&lock)?.release()?;
    Ok(())
}

fn a_session_ends_with_its_process(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    let mut agent = ctx.agent()?;
    let options = Options { session: true, ..Options::default() };
    agent.take(lock.name().as_str(), &options)?;
    denied(lock.try_acquire(), "another process's session lock")?;
    agent.kill()?;
    free_within(&lock, SOON, "the session lock of a dead process")?.release()?;
    Ok(())
}

fn a_broken_session_is_lost(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    let held = lock.clone().session().try_acquire()?;
    ctx.subject.inspect().force_release(&lock.name(), Breaking::Safe, "because")?;
    denied(lock.try_acquire(), "a broken session lock whose holder has not let go")?;
    let error = refused(held.renew(), Kind::Lost, "the renewal of a broken session")?;
    check!(error.cause() == Some(Cause::Forced), "expected a loss by force, saw {error}");
    refused(held.release(), Kind::Lost, "the release of a broken session")?;
    lock.try_acquire()?.release()?;
    Ok(())
}
