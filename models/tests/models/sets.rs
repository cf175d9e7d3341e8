//! Several locks at once: whoever takes which of them in whatever order, nobody waits in a circle.

use std::sync::Arc;

use tenure_core::aio::{self, AsyncHandle, block_on};
use tenure_core::sync::{settle, thread};
use tenure_core::{Fence, Handle, LockAll};
use tenure_locmem::LocMem;

use crate::explore::explore;
use crate::store::Store;
use crate::take_part::{Room, allowed, draw, poll_times};

const NAMES: [&str; 3] = ["a", "b", "c"];

/// Takes two or three of the names, in an order and a manner drawn by the schedule.
fn take<S: Handle + AsyncHandle>(store: &S, rooms: &[Room; 3]) {
    let mut numbers = vec![0, 1, 2];
    numbers.swap(0, draw(3));
    numbers.swap(1, 1 + draw(2));
    numbers.truncate(2 + draw(2));
    let names = numbers.iter().map(|number| NAMES[*number]);
    let visit = |fences: &[Fence]| {
        numbers.iter().zip(fences).for_each(|(number, fence)| rooms[*number].visit(fence.get()));
    };
    match draw(4) {
        0 => {
            let held = LockAll::new(store, names).acquire().unwrap();
            visit(&held.fences());
            held.release().unwrap();
        }
        1 => {
            if let Some(held) = allowed(LockAll::new(store, names).try_acquire()) {
                visit(&held.fences());
            }
        }
        2 => {
            let held = block_on(aio::LockAll::new(store, names).acquire()).unwrap();
            visit(&held.fences());
            block_on(held.release()).unwrap();
        }
        _ => {
            if let Some(held) = poll_times(draw(12), aio::LockAll::new(store, names).acquire()) {
                visit(&held.unwrap().fences());
            }
        }
    }
}

fn take_together<S: Handle + AsyncHandle>(store: &S) {
    let rooms = Arc::new(<[Room; 3]>::default());
    let threads: Vec<_> = (0..3)
        .map(|_| {
            let (store, rooms) = (store.clone(), rooms.clone());
            thread::spawn(move || take(&store, &rooms))
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    settle();
    LockAll::new(store, NAMES).try_acquire().expect("all are free").release().unwrap();
}

#[test]
fn overlapping_sets_are_taken_without_a_circle_and_without_time() {
    explore(|| take_together(&LocMem::for_this_process_only()));
}

#[test]
fn nor_is_time_needed_where_the_store_is_far() {
    explore(|| take_together(&Store::new()));
}
