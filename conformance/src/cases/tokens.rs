//! Owner tokens: what makes a grant somebody's.

use tenure_core::Kind;

use crate::case::cases;
use crate::ctx::{Ctx, denied, refused};
use crate::failure::{Outcome, check};

cases! {
    every_acquisition_has_a_token_of_its_own rows [9, 13] defects [4] breaks [ReentrantByProcess];
    a_token_that_was_released_is_worth_nothing rows [9, 12, 62] needs [Restore] breaks [RenewsTheReleased];
}

fn every_acquisition_has_a_token_of_its_own(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    let first = lock.try_acquire()?;
    let token = first.owner();
    first.release()?;
    let second = lock.try_acquire()?;
    check!(second.owner() != token, "expected a new token, saw the old one");
    denied(lock.try_acquire(), "a lock that the same handle held before")?;
    second.release()?;
    Ok(())
}

fn a_token_that_was_released_is_worth_nothing(ctx: &Ctx) -> Outcome {
    let lock = ctx.lock();
    let (first, third) = (lock.try_acquire()?, lock.clone());
    let second = lock.restore(first.owner())?;
    second.release()?;
    refused(first.renew(), Kind::Lost, "a renewal with a released token")?;
    refused(first.release(), Kind::Lost, "a second release of one token")?;
    third.try_acquire()?.release()?;
    Ok(())
}
