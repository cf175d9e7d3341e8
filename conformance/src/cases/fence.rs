//! Fences grow.

use std::sync::Mutex;
use std::thread;

use tenure_core::{Breaking, Fence, Name};

use super::Covers::Defect;
use super::{Case, Need, SHORT, SOON};
use crate::failure::{Failure, Outcome, ensure};

pub(super) const CASES: &[Case] = &[
    Case {
        name: "fences_grow_over_release",
        covers: &[Defect(10)],
        needs: &[],
        run: |context| {
            let lock = context.store().lock(&context.name("x"));
            let mut last = Fence::ZERO;
            for _ in 0..100 {
                let held = lock.try_acquire()?;
                ensure!(held.fence() > last, "{:?} after {last:?}", held.fence());
                last = held.fence();
                held.release()?;
            }
            Ok(())
        },
    },
    Case {
        name: "fences_grow_over_expiry",
        covers: &[Defect(10)],
        needs: &[],
        run: |context| {
            let name = context.name("x");
            let late = context.store().lock(&name).ttl(SHORT).try_acquire()?;
            // A handle that saw no fence before.
            let next = context.reopen()?.lock(&name).acquire_for(SOON)?;
            ensure!(next.fence() > late.fence(), "{:?} after {:?}", next.fence(), late.fence());
            next.release()?;
            Ok(())
        },
    },
    Case {
        name: "fences_grow_over_reopening_the_store",
        covers: &[Defect(10)],
        needs: &[],
        run: |context| {
            let name = context.name("x");
            let mut last = Fence::ZERO;
            for _ in 0..10 {
                let held = context.reopen()?.lock(&name).try_acquire()?;
                ensure!(held.fence() > last, "{:?} after {last:?}", held.fence());
                last = held.fence();
                held.release()?;
            }
            Ok(())
        },
    },
    Case {
        name: "fences_grow_over_force_release",
        covers: &[Defect(10)],
        needs: &[Need::Inspect],
        run: |context| {
            let name = context.name("x");
            let inspect = context.store().inspect().ok_or_else(|| Failure::new("no Inspect"))?;
            for breaking in [Breaking::Now, Breaking::Safe] {
                let held = context.store().lock(&name).try_acquire()?;
                let fence = held.fence();
                inspect.force_release(&Name::new(name.as_str())?, breaking, "a test")?;
                drop(held);
                let next = context.reopen()?.lock(&name).acquire_for(SOON)?;
                // The break itself moved the fence: there is room for it in between.
                ensure!(next.fence().get() > fence.get() + 1, "{:?} after {fence:?}", next.fence());
                next.release()?;
            }
            Ok(())
        },
    },
    Case {
        name: "fences_are_unique_and_in_the_order_of_the_grants",
        covers: &[Defect(10)],
        needs: &[],
        run: |context| {
            let name = context.name("x");
            let stores = [context.reopen()?, context.reopen()?, context.reopen()?, context.reopen()?];
            let fences = Mutex::new(Vec::new());
            thread::scope(|scope| -> Outcome {
                let mut threads = Vec::new();
                for store in &stores {
                    let (name, fences) = (&name, &fences);
                    threads.push(scope.spawn(move || -> Outcome {
                        for _ in 0..50 {
                            let held = store.lock(name).acquire_for(SOON)?;
                            fences.lock().map_err(|_| Failure::new("poisoned"))?.push(held.fence());
                            held.release()?;
                        }
                        Ok(())
                    }));
                }
                threads
                    .into_iter()
                    .try_for_each(|thread| thread.join().map_err(|_| Failure::new("a thread panicked"))?)
            })?;
            let fences = fences.into_inner().map_err(|_| Failure::new("poisoned"))?;
            ensure!(fences.len() == 200, "{} grants", fences.len());
            ensure!(fences.windows(2).all(|pair| pair[0] < pair[1]), "out of order: {fences:?}");
            Ok(())
        },
    },
    Case {
        name: "a_renewal_keeps_the_fence",
        covers: &[],
        needs: &[],
        run: |context| {
            let lock = context.store().lock(&context.name("x"));
            let held = lock.try_acquire()?;
            let fence = held.fence();
            held.renew()?;
            let seen = lock.try_acquire().err().and_then(|error| error.holder());
            ensure!(
                held.fence() == fence && seen.is_none_or(|seen| seen == fence),
                "{fence:?}, then {seen:?}"
            );
            held.release()?;
            Ok(())
        },
    },
    Case {
        name: "an_acquire_asked_twice_is_granted_once",
        covers: &[Defect(15)],
        needs: &[],
        run: |context| {
            let name = context.name("x");
            let fences = context.store().ask_twice(&name)?;
            ensure!(fences[0].is_some(), "a free lock was refused");
            ensure!(fences[0] == fences[1], "one token got {fences:?}");
            context.store().lock(&name).acquire_for(SOON)?.release()?;
            Ok(())
        },
    },
    Case {
        name: "a_gate_that_saw_the_next_fence_refuses_the_paused_holder",
        covers: &[Defect(10)],
        needs: &[],
        run: |context| {
            let lock = context.store().lock(&context.name("x"));
            let mut gate = Fence::ZERO;
            let mut write = |fence: Fence| {
                let passed = fence >= gate;
                gate = gate.max(fence);
                passed
            };
            let paused = lock.clone().ttl(SHORT).try_acquire()?;
            ensure!(write(paused.fence()), "the holder's write was refused");
            let next = lock.acquire_for(SOON)?;
            ensure!(write(next.fence()), "the next holder's write was refused");
            ensure!(!write(paused.fence()), "a stale write passed");
            next.release()?;
            Ok(())
        },
    },
];
