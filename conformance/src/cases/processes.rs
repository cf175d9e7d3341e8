//! Several processes.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tenure_core::{Cause, Kind, Status};

use super::Covers::{Defect, Row};
use super::{Case, Need, SHORT, SOON, refused};
use crate::agent::encode;
use crate::failure::{Failure, Outcome, ensure};
use crate::spec::LEASE;

pub(super) const CASES: &[Case] = &[
    Case {
        name: "another_process_sees_the_lock_held",
        covers: &[Row(39)],
        needs: &[Need::Processes],
        run: |context| {
            let (name, mut agent) = (context.name("x"), context.agent()?);
            let held = context.store().lock(&name).try_acquire()?;
            let answer = agent.ask(&format!("try {}", encode(&name)))?;
            ensure!(answer.is("Contended"), "{answer:?}");
            held.release()?;
            agent.hold(&name, "try")?;
            refused(context.store().lock(&name).try_acquire(), Kind::Contended)?;
            agent.ask(&format!("release {}", encode(&name)))?.ok()?;
            context.store().lock(&name).try_acquire()?.release()?;
            agent.close()
        },
    },
    Case {
        name: "unrelated_names_stay_free_for_another_process",
        covers: &[Row(40)],
        needs: &[Need::Processes],
        run: |context| {
            let mut agent = context.agent()?;
            let held = context.store().lock(&context.name("ours")).try_acquire()?;
            agent.hold(&context.name("theirs"), "try")?;
            held.release()?;
            agent.close()
        },
    },
    Case {
        name: "a_killed_holder_frees_its_lock_within_a_lease",
        covers: &[Defect(11)],
        needs: &[Need::Processes],
        run: |context| {
            let (name, mut agent) = (context.name("x"), context.agent()?);
            let fence = agent.hold(&name, "try")?;
            agent.kill()?;
            let began = Instant::now();
            let next = context.store().lock(&name).acquire_for(SOON)?;
            ensure!(began.elapsed() < LEASE + Duration::from_secs(2), "free after {:?}", began.elapsed());
            ensure!(next.fence() > fence, "{:?} after {fence:?}", next.fence());
            next.release()?;
            Ok(())
        },
    },
    Case {
        name: "a_waiter_is_served_after_the_holder_was_killed",
        covers: &[Defect(11)],
        needs: &[Need::Processes],
        run: |context| {
            let (name, mut agent) = (context.name("x"), context.agent()?);
            agent.hold(&name, "try")?;
            thread::scope(|scope| {
                let waiter = scope.spawn(|| context.store().lock(&name).acquire_for(SOON));
                thread::sleep(SHORT / 4);
                agent.kill()?;
                let held = waiter.join().map_err(|_| Failure::new("the waiter panicked"))??;
                held.release()?;
                Ok(())
            })
        },
    },
    Case {
        name: "a_release_wakes_a_waiter_of_another_process",
        covers: &[Defect(14)],
        needs: &[Need::Processes],
        run: |context| {
            let (name, mut agent) = (context.name("x"), context.agent()?);
            let mut times = Vec::new();
            for _ in 0..15 {
                let held = context.store().lock(&name).acquire_for(SOON)?;
                agent.order(&format!("wait {}", encode(&name)))?;
                thread::sleep(Duration::from_millis(15));
                let released = Instant::now();
                held.release()?;
                agent.answer()?.ok()?;
                times.push(released.elapsed());
                agent.ask(&format!("release {}", encode(&name)))?.ok()?;
            }
            times.sort_unstable();
            ensure!(times[7] < Duration::from_millis(25), "the median hand-over took {:?}", times[7]);
            agent.close()
        },
    },
    Case {
        name: "a_stopped_holder_loses_its_lock_and_wakes_up_knowing",
        covers: &[Row(16), Row(17), Defect(10)],
        needs: &[Need::Processes],
        run: |context| {
            let (name, mut agent) = (context.name("x"), context.agent()?);
            let fence = agent.hold(&name, "try")?;
            agent.signal(Signal::SIGSTOP)?;
            let next = context.store().lock(&name).acquire_for(SOON)?;
            agent.signal(Signal::SIGCONT)?;
            ensure!(next.fence() > fence, "{:?} after {fence:?}", next.fence());
            let status = agent.ask(&format!("status {}", encode(&name)))?;
            ensure!(status.ok()?.word(1).starts_with("Lost("), "the stopped holder believes: {status:?}");
            let released = agent.ask(&format!("release {}", encode(&name)))?;
            ensure!(released.word(0).starts_with("Lost"), "{released:?}");
            refused(context.store().lock(&name).try_acquire(), Kind::Contended)?;
            ensure!(next.status() == Status::Held, "{:?}", next.status());
            next.release()?;
            agent.close()
        },
    },
    Case {
        name: "a_process_that_drops_late_does_not_free_the_next_owners_lock",
        covers: &[Row(17), Defect(4)],
        needs: &[Need::Processes],
        run: |context| {
            let (name, mut agent) = (context.name("x"), context.agent()?);
            agent.hold(&name, &format!("try,ttl={}", SHORT.as_millis()))?;
            let next = context.store().lock(&name).acquire_for(SOON)?;
            agent.ask(&format!("drop {}", encode(&name)))?.ok()?;
            agent.close()?;
            refused(context.store().lock(&name).try_acquire(), Kind::Contended)?;
            next.release()?;
            Ok(())
        },
    },
    Case {
        name: "four_processes_lose_no_update",
        covers: &[Defect(1)],
        needs: &[Need::Processes],
        run: |context| {
            let (folder, name) = (context.folder()?, context.name("x"));
            let mut agents = [context.agent()?, context.agent()?, context.agent()?, context.agent()?];
            let order = format!("hammer {} {} 500", encode(&name), encode(&folder.display().to_string()));
            agents.iter_mut().try_for_each(|agent| agent.order(&order))?;
            for agent in &agents {
                let answer = agent.answer()?;
                let (overlaps, disorders) = (answer.ok()?.word(1), answer.word(2));
                ensure!(
                    (overlaps, disorders) == ("0", "0"),
                    "{overlaps} overlaps, {disorders} fences out of order"
                );
            }
            let counted = fs::read_to_string(folder.join("counter"))?;
            ensure!(counted.trim() == "2000", "{counted} of 2000 updates");
            Ok(())
        },
    },
    Case {
        name: "a_process_full_of_waiters_does_not_starve_another",
        covers: &[Defect(14)],
        needs: &[Need::Processes],
        run: |context| {
            let (folder, name, mut agent) = (context.folder()?, context.name("x"), context.agent()?);
            let done = AtomicBool::new(false);
            let ours = AtomicU32::new(0);
            thread::scope(|scope| -> Outcome {
                let work = || -> Outcome {
                    while !done.load(Ordering::SeqCst) {
                        let held = context.store().lock(&name).acquire_for(SOON)?;
                        ours.fetch_add(1, Ordering::SeqCst);
                        thread::sleep(Duration::from_micros(100));
                        held.release()?;
                    }
                    Ok(())
                };
                let threads: Vec<_> = (0..6).map(|_| scope.spawn(work)).collect();
                let (name, folder) = (encode(&name), encode(&folder.display().to_string()));
                let answer = agent.ask(&format!("hammer {name} {folder} 20"));
                done.store(true, Ordering::SeqCst);
                for thread in threads {
                    thread.join().map_err(|_| Failure::new("a thread panicked"))??;
                }
                answer?.ok()?;
                Ok(())
            })?;
            let ours = ours.into_inner();
            // Six waiters to one, and a step back after sixteen: far from twenty to one.
            ensure!(ours < 20 * 20, "{ours} grants here to 20 there");
            agent.close()
        },
    },
    Case {
        name: "a_forked_child_that_drops_its_copy_frees_nothing",
        covers: &[Defect(8)],
        needs: &[Need::Processes],
        run: |context| fork(context, "fork_drop"),
    },
    Case {
        name: "a_forked_child_that_releases_its_copy_frees_nothing",
        covers: &[Defect(8)],
        needs: &[Need::Processes],
        run: |context| fork(context, "fork_release"),
    },
    Case {
        name: "a_lock_left_on_purpose_outlives_its_process",
        covers: &[],
        needs: &[Need::Processes],
        run: |context| {
            let (name, mut agent) = (context.name("x"), context.agent()?);
            let began = Instant::now();
            agent.hold(&name, "try,detached=1,ttl=600")?;
            agent.kill()?;
            refused(context.store().lock(&name).try_acquire(), Kind::Contended)?;
            context.store().lock(&name).acquire_for(SOON)?.release()?;
            ensure!(began.elapsed() >= Duration::from_millis(600), "free after {:?}", began.elapsed());
            Ok(())
        },
    },
    Case {
        name: "the_least_time_outlives_the_process",
        covers: &[],
        needs: &[Need::Processes],
        run: |context| {
            let (name, mut agent) = (context.name("x"), context.agent()?);
            agent.hold(&name, "try,least=700")?;
            let granted = Instant::now();
            agent.ask(&format!("release {}", encode(&name)))?.ok()?;
            agent.close()?;
            refused(context.store().lock(&name).try_acquire(), Kind::Contended)?;
            context.store().lock(&name).acquire_for(SOON)?.release()?;
            ensure!(granted.elapsed() >= Duration::from_millis(650), "free after {:?}", granted.elapsed());
            Ok(())
        },
    },
    Case {
        name: "a_crash_does_not_keep_the_least_time",
        covers: &[],
        needs: &[Need::Processes],
        run: |context| {
            let (name, mut agent) = (context.name("x"), context.agent()?);
            agent.hold(&name, "try,least=60000")?;
            agent.kill()?;
            context.store().lock(&name).acquire_for(LEASE + SOON / 4)?.release()?;
            Ok(())
        },
    },
    Case {
        name: "a_lock_is_taken_up_by_another_process",
        covers: &[Row(67)],
        needs: &[Need::Processes, Need::Restore],
        run: |context| {
            let (name, mut agent) = (context.name("x"), context.agent()?);
            let held = agent.ask(&format!("try,detached=1,ttl=20000 {}", encode(&name)))?;
            let (fence, owner) = (held.fence()?, held.owner()?);
            agent.ask(&format!("drop {}", encode(&name)))?.ok()?;
            agent.close()?;
            let again = context.store().lock(&name).restore(owner)?;
            ensure!(again.fence() == fence, "{:?} instead of {fence:?}", again.fence());
            let mut other = context.agent()?;
            let refusal = other.ask(&format!("try {}", encode(&name)))?;
            ensure!(refusal.is("Contended"), "{refusal:?}");
            again.release()?;
            other.hold(&name, "try")?;
            other.close()
        },
    },
    Case {
        name: "a_process_told_to_stop_releases_everything_at_once",
        covers: &[],
        needs: &[Need::Processes],
        run: |context| {
            let mut agent = context.agent()?;
            let names = ["a", "b", "c"].map(|name| context.name(name));
            for name in &names {
                agent.hold(name, "try")?;
            }
            let answer = agent.ask("release_all")?;
            ensure!(answer.ok()?.word(1) == "0", "{answer:?}");
            for name in &names {
                context.store().lock(name).try_acquire()?.release()?;
                let status = agent.ask(&format!("status {}", encode(name)))?;
                ensure!(status.ok()?.word(1) == format!("Lost({:?})", Cause::Released), "{status:?}");
            }
            agent.close()
        },
    },
    Case {
        name: "a_session_lock_ends_with_its_process",
        covers: &[],
        needs: &[Need::Processes, Need::Sessions],
        run: |context| {
            let (name, mut agent) = (context.name("x"), context.agent()?);
            agent.hold(&name, "session")?;
            thread::sleep(LEASE);
            refused(context.store().lock(&name).try_acquire(), Kind::Contended)?;
            agent.kill()?;
            context.store().lock(&name).acquire_for(SOON)?.release()?;
            Ok(())
        },
    },
    Case {
        name: "a_session_lock_has_no_deadline_and_is_released",
        covers: &[],
        needs: &[Need::Sessions],
        run: |context| {
            let lock = context.store().lock(&context.name("x"));
            let held = lock.session()?;
            ensure!(held.deadline().is_none() && held.remaining().is_none(), "{held:?}");
            held.renew()?;
            refused(held.renew_for(SHORT), Kind::Misconfigured).or_else(|_| {
                // A store may be able to turn it into a lease.
                held.renew().map(|()| tenure_core::Error::misconfigured(""))
            })?;
            refused(lock.try_acquire(), Kind::Contended)?;
            held.release()?;
            lock.try_acquire()?.release()?;
            Ok(())
        },
    },
];

fn fork(context: &super::Context, what: &str) -> Outcome {
    let (name, mut agent) = (context.name("x"), context.agent()?);
    agent.hold(&name, "try")?;
    agent.ask(&format!("{what} {}", encode(&name)))?.ok()?;
    refused(context.store().lock(&name).try_acquire(), Kind::Contended)?;
    // The parent goes on renewing it.
    thread::sleep(LEASE * 2);
    refused(context.store().lock(&name).try_acquire(), Kind::Contended)?;
    let status = agent.ask(&format!("status {}", encode(&name)))?;
    ensure!(status.ok()?.word(1) == "Held", "{status:?}");
    agent.ask(&format!("release {}", encode(&name)))?.ok()?;
    context.store().lock(&name).try_acquire()?.release()?;
    agent.close()
}
