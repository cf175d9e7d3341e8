//! Taking up a lock by its token.

use std::time::Duration;

use tenure_core::{Kind, Owner, Status};

use super::Covers::Row;
use super::{Case, Need, SHORT, SOON, refused};
use crate::failure::ensure;

pub(super) const CASES: &[Case] = &[
    Case {
        name: "the_token_can_be_read_back_and_written_down",
        covers: &[Row(23)],
        needs: &[],
        run: |context| {
            let held = context.store().lock(&context.name("x")).try_acquire()?;
            ensure!(held.owner().to_string().parse::<Owner>()? == held.owner(), "the token changed on paper");
            held.release()?;
            Ok(())
        },
    },
    Case {
        name: "two_acquisitions_have_two_tokens",
        covers: &[Row(23)],
        needs: &[],
        run: |context| {
            let lock = context.store().lock(&context.name("x"));
            let first = lock.try_acquire()?;
            let token = first.owner();
            first.release()?;
            let second = lock.try_acquire()?;
            ensure!(second.owner() != token, "the token was used twice");
            second.release()?;
            Ok(())
        },
    },
    Case {
        name: "the_owner_takes_up_its_lock_without_a_new_grant",
        covers: &[Row(67), Row(68)],
        needs: &[Need::Restore],
        run: |context| {
            let lock = context.store().lock(&context.name("x"));
            let held = lock.clone().release_on_drop(false).ttl(Duration::from_secs(30)).try_acquire()?;
            let (owner, fence) = (held.owner(), held.fence());
            drop(held);
            let again = lock.restore(owner)?;
            ensure!(again.fence() == fence && again.owner() == owner, "a new grant was made");
            refused(lock.try_acquire(), Kind::Contended)?;
            again.release()?;
            lock.try_acquire()?.release()?;
            Ok(())
        },
    },
    Case {
        name: "a_lock_taken_up_has_a_new_life",
        covers: &[Row(67)],
        needs: &[Need::Restore],
        run: |context| {
            let lock = context.store().lock(&context.name("x"));
            let held = lock.clone().release_on_drop(false).ttl(SHORT).try_acquire()?;
            let again = lock.restore(held.owner())?;
            std::thread::sleep(SHORT * 2);
            ensure!(again.status() == Status::Held, "{:?}", again.status());
            refused(lock.try_acquire(), Kind::Contended)?;
            again.release()?;
            Ok(())
        },
    },
    Case {
        name: "a_strangers_token_takes_up_nothing",
        covers: &[Row(61), Row(68)],
        needs: &[Need::Restore],
        run: |context| {
            let lock = context.store().lock(&context.name("x"));
            let held = lock.try_acquire()?;
            refused(lock.restore(Owner::random()), Kind::Lost)?;
            ensure!(held.status() == Status::Held, "{:?}", held.status());
            refused(lock.try_acquire(), Kind::Contended)?;
            held.release()?;
            Ok(())
        },
    },
    Case {
        name: "taking_up_a_free_lock_inserts_nothing",
        covers: &[Row(68)],
        needs: &[Need::Restore],
        run: |context| {
            let lock = context.store().lock(&context.name("x"));
            refused(lock.restore(Owner::random()), Kind::Lost)?;
            lock.try_acquire()?.release()?;
            Ok(())
        },
    },
    Case {
        name: "an_expired_lock_cannot_be_taken_up",
        covers: &[Row(68)],
        needs: &[Need::Restore],
        run: |context| {
            let lock = context.store().lock(&context.name("x"));
            let held = lock.clone().ttl(SHORT).try_acquire()?;
            let owner = held.owner();
            let next = lock.acquire_for(SOON)?;
            refused(lock.restore(owner), Kind::Lost)?;
            next.release()?;
            refused(lock.restore(owner), Kind::Lost)?;
            Ok(())
        },
    },
];
