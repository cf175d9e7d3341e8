//! Losses are told.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use tenure_core::{Breaking, Cause, Name, Status};

use super::Covers::{Defect, Row};
use super::{Case, Need, SHORT, SOON, until};
use crate::failure::{Failure, ensure};

pub(super) const CASES: &[Case] = &[
    Case {
        name: "a_loss_by_expiry_is_told_in_time",
        covers: &[Row(16), Defect(10)],
        needs: &[],
        run: |context| {
            let held = context.store().lock(&context.name("x")).ttl(SHORT).try_acquire()?;
            let (tell, told) = mpsc::channel();
            held.on_lost(move |cause| {
                let _ = tell.send((cause, Instant::now()));
            });
            let began = Instant::now();
            ensure!(held.lost() == Cause::Expired, "another cause");
            ensure!(began.elapsed() <= SHORT * 10, "told after {:?}", began.elapsed());
            let (cause, _) = told.recv_timeout(SOON).map_err(|_| Failure::new("no callback"))?;
            ensure!(cause == Cause::Expired, "{cause:?}");
            ensure!(held.status() == Status::Lost(Cause::Expired), "{:?}", held.status());
            Ok(())
        },
    },
    Case {
        name: "a_loss_by_force_is_told_to_a_kept_holder",
        covers: &[Defect(10)],
        needs: &[Need::Inspect],
        run: |context| {
            let name = context.name("x");
            let held = context.store().lock(&name).try_acquire()?;
            let (tell, told) = mpsc::channel();
            held.on_lost(move |cause| {
                let _ = tell.send(cause);
            });
            let inspect = context.store().inspect().ok_or_else(|| Failure::new("no Inspect"))?;
            inspect.force_release(&Name::new(name)?, Breaking::Safe, "a test")?;
            let cause = told.recv_timeout(SOON).map_err(|_| Failure::new("no callback"))?;
            ensure!(cause == Cause::Forced, "{cause:?}");
            ensure!(held.status() == Status::Lost(Cause::Forced), "{:?}", held.status());
            let error = held.release().err().ok_or_else(|| Failure::new("the release succeeded"))?;
            ensure!(error.cause() == Some(Cause::Forced), "{error:?}");
            Ok(())
        },
    },
    Case {
        name: "a_loss_by_force_is_seen_by_a_holder_who_looks",
        covers: &[],
        needs: &[Need::Inspect],
        run: |context| {
            let name = context.name("x");
            let held = context.store().lock(&name).try_acquire()?;
            let inspect = context.store().inspect().ok_or_else(|| Failure::new("no Inspect"))?;
            inspect.force_release(&Name::new(name)?, Breaking::Safe, "a test")?;
            until("the loss", || Ok(held.status() == Status::Lost(Cause::Forced)))
        },
    },
    Case {
        name: "no_loss_is_told_after_a_release",
        covers: &[Row(12)],
        needs: &[],
        run: |context| {
            let held = context.store().lock(&context.name("x")).ttl(SHORT).try_acquire()?;
            let (tell, told) = mpsc::channel();
            held.on_lost(move |cause| {
                let _ = tell.send(cause);
            });
            held.release()?;
            let told = told.recv_timeout(SHORT * 2);
            ensure!(told == Err(mpsc::RecvTimeoutError::Disconnected), "{told:?} after a release");
            Ok(())
        },
    },
    Case {
        name: "a_late_listener_is_told_at_once",
        covers: &[],
        needs: &[],
        run: |context| {
            let held = context.store().lock(&context.name("x")).ttl(SHORT).try_acquire()?;
            held.lost();
            let (tell, told) = mpsc::channel();
            held.on_lost(move |cause| {
                let _ = tell.send(cause);
            });
            let cause = told.recv_timeout(SOON).map_err(|_| Failure::new("no callback"))?;
            ensure!(cause == Cause::Expired, "{cause:?}");
            Ok(())
        },
    },
    Case {
        name: "a_lost_lock_stays_lost",
        covers: &[Defect(10)],
        needs: &[],
        run: |context| {
            let lock = context.store().lock(&context.name("x"));
            let held = lock.clone().ttl(SHORT).try_acquire()?;
            held.lost();
            std::thread::sleep(Duration::from_millis(20));
            // The name is free again, and the lock is not got anew behind the holder's back.
            ensure!(
                held.renew().is_err() && held.status() == Status::Lost(Cause::Expired),
                "{:?}",
                held.status()
            );
            lock.acquire_for(SOON)?.release()?;
            Ok(())
        },
    },
];
