//! Processes that wait for one lock take turns. A second store on the same folder stands for a second
//! process wherever that need not be stopped.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "helpers of tests, outside of test functions")]

mod support;

use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use support::{Role, descriptions, record, role, say, sleeps, sleepy, store, this_thread, wait_until};
use tenure_core::{Backend, Lock, Owner, Result};

const SOON: Duration = Duration::from_secs(20);

#[test]
fn the_child_plays_its_role() {
    if let Some((_, dir)) = role() {
        say("begins");
        Lock::new(&sleepy(&dir), "a").acquire().unwrap().release().unwrap();
    }
}

/// How long a free lock is left to the process that has waited longest.
const COURTESY: Duration = Duration::from_millis(20);

#[test]
fn processes_are_served_in_the_order_in_which_they_came() -> Result<()> {
    let (_dir, path) = store();
    let holder = sleepy(&path);
    let stores: Vec<_> = (0..5).map(|_| sleepy(&path)).collect();
    let record = record(&path);
    for _ in 0..10 {
        let held = Lock::new(&holder, "a").acquire_for(SOON)?;
        let turns = Mutex::new(Vec::new());
        let released = thread::scope(|scope| {
            for (number, store) in stores.iter().enumerate() {
                let (tell, told) = mpsc::channel();
                let turns = &turns;
                scope.spawn(move || {
                    tell.send(this_thread()).unwrap();
                    let held = Lock::new(store, "a").acquire_for(SOON).unwrap();
                    let granted = Instant::now();
                    turns.lock().unwrap().push((number, granted, Instant::now()));
                    held.release().unwrap();
                });
                let waiter = told.recv().unwrap();
                // Visibly, and with its last question behind it.
                wait_until("it waits", || descriptions(&record) == 3 + 2 * number && sleeps(&waiter));
            }
            let released = Instant::now();
            held.release().map(|()| released)
        })?;
        in_turn(released, &turns.into_inner().unwrap());
    }
    Ok(())
}

/// Who gets no cpu for a while is passed over, but not before the lock was left to him for as long as that
/// takes. `turns` are the numbers of those who got it, with when each had it and when it let go of it.
fn in_turn(released: Instant, turns: &[(usize, Instant, Instant)]) {
    let (mut free_since, mut left) = (released, 0);
    for (place, (number, granted, released)) in turns.iter().enumerate() {
        left += granted.duration_since(free_since).as_millis() / COURTESY.as_millis();
        let passed = turns[place..].iter().filter(|(later, ..)| later < number).count();
        assert!(passed as u128 <= left, "{number} came before its turn: {turns:?}");
        free_since = *released;
    }
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
        let (next, record) = (&locks[round % 2], record(&path));
        held = thread::scope(|scope| {
            let waiter = scope.spawn(move || {
                let held = next.acquire_for(SOON);
                (held, Instant::now())
            });
            wait_until("it waits", || descriptions(&record) == 3);
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
    let record = record(&path);
    thread::scope(|scope| {
        // It comes first, and is never released.
        let hangs = scope.spawn(|| Lock::new(&second, "a").ttl(Duration::from_millis(300)).acquire_for(SOON));
        wait_until("it waits", || descriptions(&record) == 3);
        let last = scope.spawn(|| Lock::new(&third, "a").acquire_for(SOON).map(drop));
        wait_until("both wait", || descriptions(&record) == 5);
        held.release()?;
        let hanging = hangs.join().unwrap()?;
        let began = Instant::now();
        last.join().unwrap()?;
        assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
        assert!(hanging.release().is_err_and(|error| error.is_lost()));
        Ok(())
    })
}
