//! The queue of a store in local memory.

use std::sync::Arc;
use std::time::Duration;

use shuttle::thread;
use tenure_core::Lock;
use tenure_core::sync::advance;
use tenure_locmem::LocMem;

use crate::explore::explore;
use crate::take_part::{Room, take_part};

#[test]
fn whoever_comes_and_goes_in_whatever_manner_nobody_is_forgotten() {
    explore(|| {
        let store = LocMem::for_this_process_only();
        let room = Arc::new(Room::default());
        let threads: Vec<_> = (0..3)
            .map(|_| {
                let (store, room) = (store.clone(), room.clone());
                thread::spawn(move || {
                    take_part(&store, "a", &room);
                    take_part(&store, "a", &room);
                })
            })
            .collect();
        advance(Duration::from_millis(5));
        advance(Duration::from_millis(10));
        // Whoever has a limit gives up now; who has none waits.
        advance(Duration::from_millis(50));
        let held = Lock::new(&store, "a").acquire().unwrap();
        room.visit(held.fence().get());
        drop(held);
        advance(Duration::from_millis(50));
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(store.waiting("lock:a"), 0);
        Lock::new(&store, "a").try_acquire().unwrap().release().unwrap();
    });
}
