//! Looking at locks from outside, and breaking them.

use std::time::{Duration, Instant, SystemTime};

use tenure_core::{Breaking, Inspect, Kind, Name};

use super::Covers::Defect;
use super::{Case, Context, Need, SHORT, SOON, refused, until};
use crate::failure::{Failure, Outcome, ensure};

pub(super) const CASES: &[Case] = &[
    Case {
        name: "inspection_tells_the_truth",
        covers: &[],
        needs: &[Need::Inspect],
        run: |context| {
            let name = Name::new(context.name("x"))?;
            let lock = context.store().lock(name.as_str()).ttl(Duration::from_secs(30)).label("it is me");
            let before = SystemTime::now() - Duration::from_secs(1);
            let held = lock.try_acquire()?;
            let seen = inspect(context)?.inspect(&name)?.ok_or_else(|| Failure::new("nobody seen"))?;
            ensure!(seen.name() == &name && seen.label() == "it is me", "{seen:?}");
            ensure!(seen.fence() == held.fence(), "{:?} instead of {:?}", seen.fence(), held.fence());
            let left = seen.remaining().ok_or_else(|| Failure::new("no lease seen"))?;
            ensure!(left > Duration::from_secs(20) && left <= Duration::from_secs(30), "{left:?} left");
            let since = seen.since().ok_or_else(|| Failure::new("no time seen"))?;
            ensure!(
                since >= before && since <= SystemTime::now() + Duration::from_secs(1),
                "since {since:?}"
            );
            ensure!(seen.breaking().is_none(), "{seen:?}");
            held.release()?;
            Ok(())
        },
    },
    Case {
        name: "nobody_is_seen_where_nobody_holds",
        covers: &[],
        needs: &[Need::Inspect],
        run: |context| {
            let name = Name::new(context.name("x"))?;
            ensure!(inspect(context)?.inspect(&name)?.is_none(), "somebody in a name never used");
            context.store().lock(name.as_str()).try_acquire()?.release()?;
            ensure!(inspect(context)?.inspect(&name)?.is_none(), "somebody after a release");
            let held = context.store().lock(name.as_str()).ttl(SHORT).try_acquire()?;
            until("expiry", || Ok(inspect(context)?.inspect(&name)?.is_none()))?;
            drop(held);
            Ok(())
        },
    },
    Case {
        name: "the_list_has_all_that_is_held_and_begins_with_the_prefix",
        covers: &[],
        needs: &[Need::Inspect],
        run: |context| {
            let names = ["b", "a", "A", "a long\0name", &"n".repeat(400)].map(|name| context.name(name));
            let held: Vec<_> = names
                .iter()
                .map(|name| context.store().lock(name).try_acquire())
                .collect::<Result<_, _>>()?;
            context.store().lock(&context.name("free")).try_acquire()?.release()?;
            let list = |prefix: &str| -> Outcome<Vec<String>> {
                Ok(inspect(context)?
                    .list(prefix)?
                    .iter()
                    .map(|seen| seen.name().as_str().to_owned())
                    .collect())
            };
            let mut expected = names.to_vec();
            expected.sort();
            let seen = list(&context.name(""))?;
            ensure!(seen == expected, "{seen:?} instead of {expected:?}");
            let seen = list(&context.name("a"))?;
            ensure!(seen.len() == 2, "{seen:?}");
            for held in held {
                held.release()?;
            }
            Ok(())
        },
    },
    Case {
        name: "looking_at_an_expired_lock_changes_nothing",
        covers: &[Defect(3)],
        needs: &[Need::Inspect],
        run: |context| {
            for round in 0..20 {
                let name = Name::new(context.name(&round.to_string()))?;
                let lock = context.store().lock(name.as_str());
                let expired = lock.clone().ttl(Duration::from_millis(15)).try_acquire()?;
                expired.lost();
                std::thread::scope(|scope| -> Outcome {
                    let looker = scope.spawn(|| -> Outcome {
                        for _ in 0..50 {
                            inspect(context)?.inspect(&name)?;
                            inspect(context)?.list(name.as_str())?;
                        }
                        Ok(())
                    });
                    let next = lock.acquire_for(SOON)?;
                    looker.join().map_err(|_| Failure::new("the looker panicked"))??;
                    refused(lock.try_acquire(), Kind::Contended)?;
                    next.release()?;
                    Ok(())
                })?;
            }
            Ok(())
        },
    },
    Case {
        name: "breaking_what_nobody_holds_does_nothing",
        covers: &[],
        needs: &[Need::Inspect],
        run: |context| {
            let name = Name::new(context.name("x"))?;
            for breaking in [Breaking::Safe, Breaking::Now] {
                ensure!(
                    inspect(context)?.force_release(&name, breaking, "a test")?.is_none(),
                    "somebody was broken"
                );
            }
            context.store().lock(name.as_str()).try_acquire()?.release()?;
            Ok(())
        },
    },
    Case {
        name: "a_broken_lock_stays_closed_until_its_holder_has_let_go",
        covers: &[],
        needs: &[Need::Inspect],
        run: |context| {
            let name = Name::new(context.name("x"))?;
            let lock = context.store().lock(name.as_str());
            let loser = lock.try_acquire()?;
            let seen = inspect(context)?.force_release(&name, Breaking::Safe, "a good reason")?;
            ensure!(
                seen.is_some_and(|seen| seen.fence() == loser.fence()),
                "it was not the loser that was broken"
            );
            refused(lock.try_acquire(), Kind::Contended)?;
            let broken = inspect(context)?.inspect(&name)?.ok_or_else(|| Failure::new("nobody seen"))?;
            ensure!(broken.breaking() == Some("a good reason"), "{broken:?}");
            ensure!(broken.fence() > loser.fence(), "the fence did not move");
            refused(loser.release(), Kind::Lost)?;
            lock.try_acquire()?.release()?;
            Ok(())
        },
    },
    Case {
        name: "dropping_a_broken_lock_opens_it",
        covers: &[],
        needs: &[Need::Inspect],
        run: |context| {
            let name = Name::new(context.name("x"))?;
            let lock = context.store().lock(name.as_str());
            let loser = lock.try_acquire()?;
            inspect(context)?.force_release(&name, Breaking::Safe, "a test")?;
            std::thread::scope(|scope| -> Outcome {
                let waiter = scope.spawn(|| lock.acquire_for(SOON));
                std::thread::sleep(SHORT / 8);
                ensure!(!waiter.is_finished(), "two holders");
                drop(loser);
                waiter.join().map_err(|_| Failure::new("the waiter panicked"))??.release()?;
                Ok(())
            })
        },
    },
    Case {
        name: "a_broken_lock_opens_when_its_lease_has_run_out",
        covers: &[],
        needs: &[Need::Inspect],
        run: |context| {
            let name = Name::new(context.name("x"))?;
            let lock = context.store().lock(name.as_str());
            let began = Instant::now();
            let loser = lock.clone().ttl(SHORT * 2).try_acquire()?;
            inspect(context)?.force_release(&name, Breaking::Safe, "a test")?;
            // The holder never lets go.
            std::mem::forget(loser);
            lock.acquire_for(SOON)?.release()?;
            ensure!(began.elapsed() >= SHORT * 2, "open after {:?}", began.elapsed());
            Ok(())
        },
    },
    Case {
        name: "a_lock_broken_now_is_open_at_once_and_the_loser_leaves_it_alone",
        covers: &[],
        needs: &[Need::Inspect],
        run: |context| {
            let name = Name::new(context.name("x"))?;
            let lock = context.store().lock(name.as_str());
            let loser = lock.try_acquire()?;
            inspect(context)?.force_release(&name, Breaking::Now, "a test")?;
            let next = lock.try_acquire()?;
            ensure!(next.fence() > loser.fence(), "{:?} after {:?}", next.fence(), loser.fence());
            refused(loser.renew(), Kind::Lost)?;
            refused(loser.release(), Kind::Lost)?;
            refused(lock.try_acquire(), Kind::Contended)?;
            next.release()?;
            Ok(())
        },
    },
    Case {
        name: "a_name_kept_after_its_release_can_be_broken_open",
        covers: &[],
        needs: &[Need::Inspect],
        run: |context| {
            let name = Name::new(context.name("x"))?;
            let lock = context.store().lock(name.as_str());
            lock.clone().hold_at_least(Duration::from_secs(60)).try_acquire()?.release()?;
            refused(lock.try_acquire(), Kind::Contended)?;
            ensure!(inspect(context)?.inspect(&name)?.is_some(), "a kept name is not seen");
            inspect(context)?.force_release(&name, Breaking::Safe, "a test")?;
            lock.try_acquire()?.release()?;
            Ok(())
        },
    },
];

fn inspect(context: &Context) -> Outcome<&dyn Inspect> {
    context.store().inspect().ok_or_else(|| Failure::new("no Inspect"))
}
