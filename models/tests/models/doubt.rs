//! A store that fails over and says so, while answers from before are on their way.

use std::sync::Arc;

use tenure_core::aio::{self, block_on};
use tenure_core::sync::thread::{self, JoinHandle};
use tenure_core::sync::{advance, settle};
use tenure_core::{Cause, Lock, Status};

use crate::explore::explore;
use crate::store::{LEASE, Store};
use crate::take_part::{allowed, draw, poll_times};

/// Forgets what it had granted, and tells.
fn fail_over(store: &Store) -> JoinHandle<()> {
    let store = store.clone();
    thread::spawn(move || {
        store.lose("a");
        store.site.doubt(|key| key == "lock:a");
    })
}

#[test]
fn an_answer_from_before_a_doubt_verifies_nothing() {
    explore(|| {
        let store = Store::new();
        let held = Arc::new(Lock::new(&store, "a").ttl(LEASE).acquire().unwrap());
        let renews = thread::spawn({
            let held = held.clone();
            move || drop(held.renew())
        });
        fail_over(&store).join().unwrap();
        renews.join().unwrap();
        assert_ne!(held.status(), Status::Held);
    });
}

#[test]
fn what_is_kept_alive_is_renewed_at_once_after_a_doubt_whatever_renewal_was_under_way() {
    explore(|| {
        let store = Store::new();
        let held = Arc::new(block_on(aio::Lock::new(&store, "a").acquire()).unwrap());
        let renews = thread::spawn({
            let held = held.clone();
            move || drop(poll_times(draw(6), held.renew()))
        });
        // By the engine, too.
        let clock = thread::spawn(|| advance(LEASE / 3 + LEASE / 20));
        fail_over(&store).join().unwrap();
        for thread in [renews, clock] {
            thread.join().unwrap();
        }
        // One that was dropped half way is tried again, long before the next one would be due.
        for _ in 0..3 {
            settle();
            advance(LEASE / 50);
        }
        settle();
        assert_eq!(held.status(), Status::Lost(Cause::Superseded));
    });
}

#[test]
fn a_grant_from_before_a_doubt_is_not_believed_in_unverified() {
    explore(|| {
        let store = Store::new();
        let fails = fail_over(&store);
        if draw(2) == 0 {
            let Some(held) = allowed(Lock::new(&store, "a").ttl(LEASE).acquire()) else { return };
            fails.join().unwrap();
            assert!(held.status() != Status::Held || store.is_held("a"), "the store has forgotten it");
        } else {
            let lock = aio::Lock::new(&store, "a").ttl(LEASE);
            let Some(held) = allowed(block_on(lock.acquire())) else { return };
            fails.join().unwrap();
            assert!(held.status() != Status::Held || store.is_held("a"), "the store has forgotten it");
        }
    });
}
