//! Processes that wait for one lock take turns. A second store on the same folder stands for a second
//! process wherever that need not be stopped.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "helpers of tests, outside of test functions")]

mod support;

use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use support::{Role, role, say, sleepy, store, wait_until};
use tenure_core::{Backend, Lock, Owner, Result};

const SOON: Duration = Duration::from_secs(20);

#[test]
fn the_child_plays_its_role() {
    if let Some((_, dir)) = role() {
        say("begins");
        Lock::new(&sleepy(&dir), "a").acquire().unwrap().release().unwrap();
    }
}

/// How many descriptions this process has of the record: one for a store that uses it, and one more
/// while that waits.
fn descriptions(dir: &Path) -> usize {
    let record = dir.join("lock=a.lock");
    let descriptors = fs::read_dir("/proc/self/fd").unwrap().flatten();
    descriptors.filter(|found| fs::read_link(found.path()).is_ok_and(|file| file == record)).count()
}

#[test]
fn processes_are_served_in_the_order_in_which_they_came() -> Result<()> {
    let (_dir, path) = store();
    let holder = sleepy(&path);
    let stores: Vec<_> = (0..5).map(|_| sleepy(&path)).collect();
    let path = path.canonicalize().unwrap();
    let mut in_order = 0;
    for _ in 0..10 {
        let held = Lock::new(&holder, "a").acquire_for(SOON)?;
        let order = Mutex::new(Vec::new());
        thread::scope(|scope| {
            for (number, store) in stores.iter().enumerate() {
                let order = &order;
                scope.spawn(move || {
                    let held = Lock::new(store, "a").acquire_for(SOON).unwrap();
                    order.lock().unwrap().push(number);
                    held.release().unwrap();
                });
                wait_until("it waits", || descriptions(&path) == 3 + 2 * number);
            }
            held.release()
        })?;
        in_order += u32::from(order.into_inner().unwrap() == [0, 1, 2, 3, 4]);
    }
    // One that gets no cpu for a while is passed over.
    assert!(in_order >= 7, "only {in_order} of 10 times");
    Ok(())
}

#[test]
fn a_process_that_is_stopped_in_front_is_waited_for_once() -> Result<()> {
    let (_dir, path) = store();
    let (one, other) = (sleepy(&path), sleepy(&path));
    let locks = [Lock::new(&other, "a"), Lock::new(&one, "a")];
    let mut held = locks[1].acquire_for(SOON)?;
    let mut stopped = Role::start("wait", &path);
    stopped.says();
    let claim = locks[1].claim_as(Owner::random())?;
    wait_until("the child waits", || one.is_awaited(&claim));
    stopped.signal(Signal::SIGSTOP);
    let mut waits = Vec::new();
    for round in 0..20 {
        let (next, path) = (&locks[round % 2], path.canonicalize().unwrap());
        held = thread::scope(|scope| {
            let waiter = scope.spawn(move || {
                let held = next.acquire_for(SOON);
                (held, Instant::now())
            });
            wait_until("it waits", || descriptions(&path) == 3);
            let released = Instant::now();
            held.release()?;
            let (held, got) = waiter.join().unwrap();
            waits.push(got.saturating_duration_since(released));
            held
        })?;
    }
    waits.sort_unstable();
    assert!(waits[19] < Duration::from_secs(2), "{waits:?}");
    // Each of the two left it to the stopped one for 20 ms, and not again.
    assert!(waits[10] < Duration::from_millis(15), "{waits:?}");
    stopped.signal(Signal::SIGCONT);
    held.release()?;
    assert!(stopped.end());
    Ok(())
}

#[test]
fn a_waiter_that_left_the_lock_to_others_sees_the_end_of_a_lease() -> Result<()> {
    let (_dir, path) = store();
    let (first, second, third) = (sleepy(&path), sleepy(&path), sleepy(&path));
    let held = Lock::new(&first, "a").acquire_for(SOON)?;
    let path = path.canonicalize().unwrap();
    thread::scope(|scope| {
        // It comes first, and is never released.
        let hangs = scope.spawn(|| Lock::new(&second, "a").ttl(Duration::from_millis(300)).acquire_for(SOON));
        wait_until("it waits", || descriptions(&path) == 3);
        let last = scope.spawn(|| Lock::new(&third, "a").acquire_for(SOON).map(drop));
        wait_until("both wait", || descriptions(&path) == 5);
        held.release()?;
        let hanging = hangs.join().unwrap()?;
        let began = Instant::now();
        last.join().unwrap()?;
        assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
        assert!(hanging.release().is_err_and(|error| error.is_lost()));
        Ok(())
    })
}
