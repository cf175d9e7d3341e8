//! A store that does not answer is no store in which somebody holds everything.

use tenure_core::{Kind, Moment, Status};

use crate::case::cases;
use crate::ctx::{Ctx, SOON, eventually, free_within, refused};
use crate::failure::{Failure, Outcome, check};

cases! {
    a_store_that_does_not_answer_is_unavailable defects [13] needs [Outage] breaks [DownIsContended];
    a_wait_for_a_store_that_does_not_answer_ends rows [19] defects [13] needs [Outage] breaks [DownHangs];
    an_outage_leaves_a_lock_held_until_its_deadline rows [12, 62] defects [10, 13] needs [Outage]
        breaks [DownIsALoss];
    a_release_during_an_outage_is_made_up_for defects [15] needs [Outage] breaks [DownReleases];
}

fn a_store_that_does_not_answer_is_unavailable(ctx: &Ctx) -> Outcome {
    let name = ctx.name();
    let outage = ctx.outage()?.begin();
    let began = Moment::now();
    let answer = outage.subject().lock(&name).try_acquire();
    let error = refused(answer, Kind::Unavailable, "a store that is down")?;
    let took = Moment::now().since(began);
    check!(took < SOON, "expected an error within the store's time limit, saw it after {took:?}");
    check!(error.backend().is_some(), "expected the store's label in the error, saw {error}");
    check!(error.lock() == Some(&name), "expected the lock's name in the error, saw {error}");
    // It recovers by itself.
    outage.end().lock(&name).acquire_for(SOON)?.release()?;
    Ok(())
}

fn a_wait_for_a_store_that_does_not_answer_ends(ctx: &Ctx) -> Outcome {
    let name = ctx.name();
    let outage = ctx.outage()?.begin();
    let (lock, began) = (outage.subject().lock(&name), Moment::now());
    refused(lock.acquire(), Kind::Unavailable, "a wait without a limit")?;
    refused(lock.acquire_for(ctx.long()), Kind::Unavailable, "a wait with a limit")?;
    let took = Moment::now().since(began);
    check!(took < SOON * 2, "expected errors within the store's time limit, saw them after {took:?}");
    outage.end();
    lock.acquire_for(SOON)?.release()?;
    Ok(())
}

fn an_outage_leaves_a_lock_held_until_its_deadline(ctx: &Ctx) -> Outcome {
    let (name, ttl) = (ctx.name(), ctx.ttl() * 6);
    let outage = ctx.outage()?;
    let held = outage.subject().lock(&name).ttl(ttl).try_acquire()?;
    let outage = outage.begin();
    // A store whose grants are files or connections of its own may be able to answer still.
    match held.renew() {
        Ok(()) => {}
        Err(error) if error.is_unavailable() => {
            let status = held.status();
            check!(status == Status::Unknown, "expected doubt after an unanswered renewal, saw {status:?}");
        }
        Err(error) => return Err(Failure::unexpected("expected no answer", &error)),
    }
    let believed = held.is_held();
    let subject = outage.end();
    check!(believed, "expected a lock within its lease to be believed in, saw it given up");
    eventually(ttl + SOON, "the end of the doubt", || held.renew().is_ok() || !held.is_held())?;
    drop(held);
    free_within(&subject.lock(&name), ttl + SOON, "a lock after an outage")?.release()?;
    Ok(())
}

fn a_release_during_an_outage_is_made_up_for(ctx: &Ctx) -> Outcome {
    let name = ctx.name();
    let outage = ctx.outage()?;
    let held = outage.subject().lock(&name).ttl(ctx.long()).try_acquire()?;
    let outage = outage.begin();
    let released = held.release();
    let subject = outage.end();
    if let Err(error) = released
        && !error.is_unavailable()
    {
        return Err(Failure::unexpected("expected a release or no answer", &error));
    }
    free_within(&subject.lock(&name), SOON, "a lock whose release met an outage")?.release()?;
    Ok(())
}
