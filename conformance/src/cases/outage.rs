//! A store that cannot be reached.

use std::time::{Duration, Instant};

use tenure_core::Kind;

use super::Covers::Defect;
use super::{Case, Need, SOON, refused};
use crate::failure::ensure;

pub(super) const CASES: &[Case] = &[
    Case {
        name: "an_unreachable_store_is_an_error_at_once_and_never_contention",
        covers: &[Defect(13)],
        needs: &[Need::Outage],
        run: |context| {
            let store = context.with_outage(|store| {
                let began = Instant::now();
                refused(store.lock(&context.name("x")).try_acquire(), Kind::Unavailable)?;
                refused(store.lock(&context.name("x")).acquire(), Kind::Unavailable)?;
                refused(
                    store.lock(&context.name("x")).acquire_for(Duration::from_secs(60)),
                    Kind::Unavailable,
                )?;
                ensure!(began.elapsed() < SOON, "three errors took {:?}", began.elapsed());
                Ok(())
            })?;
            // It recovers by itself.
            store.lock(&context.name("x")).acquire_for(SOON)?.release()?;
            Ok(())
        },
    },
    Case {
        name: "an_error_names_the_store_and_the_lock",
        covers: &[Defect(13)],
        needs: &[],
        run: |context| {
            let name = context.name("x");
            let held = context.store().lock(&name).try_acquire()?;
            let error = refused(context.store().lock(&name).try_acquire(), Kind::Contended)?;
            ensure!(error.lock() == Some(name.as_str()) && error.backend().is_some(), "{error}");
            held.release()?;
            Ok(())
        },
    },
];
