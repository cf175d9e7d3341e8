//! Renewing a grant, by its holder and by nobody else.

use std::thread;
use std::time::{Duration, Instant};

use tenure_core::{Kind, Status};

use super::Covers::{Defect, Row};
use super::{Case, SHORT, SOON, refused};
use crate::failure::ensure;

const LONG: Duration = Duration::from_secs(60);

pub(super) const CASES: &[Case] = &[
    Case {
        name: "a_renewed_lock_is_kept",
        covers: &[Row(60)],
        needs: &[],
        run: |context| {
            let lock = context.store().lock(&context.name("x"));
            let held = lock.clone().ttl(SHORT * 2).try_acquire()?;
            for _ in 0..6 {
                thread::sleep(SHORT / 2);
                held.renew()?;
            }
            ensure!(held.status() == Status::Held, "{:?} after renewals", held.status());
            refused(lock.try_acquire(), Kind::Contended)?;
            held.release()?;
            Ok(())
        },
    },
    Case {
        name: "a_renewal_after_expiry_fails_and_takes_nothing",
        covers: &[Row(62), Row(63)],
        needs: &[],
        run: |context| {
            let lock = context.store().lock(&context.name("x"));
            let held = lock.clone().ttl(SHORT).try_acquire()?;
            held.lost();
            refused(held.renew(), Kind::Lost)?;
            refused(held.renew_for(LONG), Kind::Lost)?;
            lock.acquire_for(SOON)?.release()?;
            Ok(())
        },
    },
    Case {
        name: "a_renewal_after_the_next_grant_leaves_that_alone",
        covers: &[Row(61), Row(62), Defect(21)],
        needs: &[],
        run: |context| {
            let lock = context.store().lock(&context.name("x"));
            let late = lock.clone().ttl(SHORT).try_acquire()?;
            let next = lock.clone().ttl(LONG).acquire_for(SOON)?;
            refused(late.renew_for(SHORT), Kind::Lost)?;
            thread::sleep(SHORT);
            next.renew()?;
            refused(lock.try_acquire(), Kind::Contended)?;
            next.release()?;
            Ok(())
        },
    },
    Case {
        name: "a_renewal_never_shortens",
        covers: &[],
        needs: &[],
        run: |context| {
            let lock = context.store().lock(&context.name("x"));
            let held = lock.clone().ttl(SHORT).try_acquire()?;
            held.renew_for(LONG)?;
            held.renew()?;
            ensure!(held.remaining() > Some(LONG / 2), "{:?} left of {LONG:?}", held.remaining());
            let left = refused(lock.try_acquire(), Kind::Contended)?.retry_after();
            ensure!(left.is_none_or(|left| left > LONG / 2), "the store has {left:?} left");
            held.release()?;
            Ok(())
        },
    },
    Case {
        name: "a_lifetime_can_be_set_longer",
        covers: &[Row(64)],
        needs: &[],
        run: |context| {
            let lock = context.store().lock(&context.name("x"));
            let held = lock.clone().ttl(SHORT).try_acquire()?;
            held.renew_for(LONG)?;
            thread::sleep(SHORT * 2);
            ensure!(held.status() == Status::Held, "{:?}", held.status());
            refused(lock.try_acquire(), Kind::Contended)?;
            held.release()?;
            Ok(())
        },
    },
    Case {
        name: "a_lifetime_can_be_set_shorter",
        covers: &[Row(64)],
        needs: &[],
        run: |context| {
            let lock = context.store().lock(&context.name("x"));
            let held = lock.clone().ttl(LONG).try_acquire()?;
            let began = Instant::now();
            held.renew_for(SHORT)?;
            ensure!(held.remaining() <= Some(SHORT), "{:?} believed of {SHORT:?}", held.remaining());
            let next = lock.acquire_for(SOON)?;
            ensure!(began.elapsed() >= SHORT, "free after {:?} of {SHORT:?}", began.elapsed());
            refused(held.release(), Kind::Lost)?;
            next.release()?;
            Ok(())
        },
    },
    Case {
        name: "a_kept_lock_whose_lifetime_is_set_ends_with_it",
        covers: &[Row(64)],
        needs: &[],
        run: |context| {
            let lock = context.store().lock(&context.name("x"));
            let held = lock.try_acquire()?;
            held.renew_for(SHORT)?;
            lock.acquire_for(SOON)?.release()?;
            refused(held.release(), Kind::Lost)?;
            Ok(())
        },
    },
    Case {
        name: "a_fixed_lock_can_be_kept_alive_without_a_lifetime",
        covers: &[Row(65), Row(66)],
        needs: &[],
        run: |context| {
            let lock = context.store().lock(&context.name("x"));
            let held = lock.clone().ttl(SHORT * 2).try_acquire()?;
            held.keep_alive();
            thread::sleep(SHORT * 5);
            ensure!(held.status() == Status::Held, "{:?} after several lifetimes", held.status());
            refused(lock.try_acquire(), Kind::Contended)?;
            held.release()?;
            Ok(())
        },
    },
    Case {
        name: "many_locks_are_kept_alive_together",
        covers: &[],
        needs: &[],
        run: |context| {
            let locks: Vec<_> =
                (0..200).map(|number| context.store().lock(&context.name(&number.to_string()))).collect();
            let held = locks.iter().map(|lock| lock.try_acquire()).collect::<Result<Vec<_>, _>>()?;
            thread::sleep(crate::spec::LEASE * 2);
            let lost = held.iter().filter(|held| held.status() != Status::Held).count();
            ensure!(lost == 0, "{lost} of 200 locks are in doubt");
            for held in held {
                held.release()?;
            }
            Ok(())
        },
    },
];
