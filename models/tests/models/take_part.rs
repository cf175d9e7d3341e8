//! Threads and tasks that want one lock, each in a manner drawn by the schedule.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use shuttle::rand::{Rng, thread_rng};
use shuttle::thread::yield_now;
use tenure_core::aio::{self, AsyncHandle, block_on};
use tenure_core::{Error, Handle, Held, Lock, Result};

/// A number below `limit`, drawn by the schedule.
pub(crate) fn draw(limit: usize) -> usize {
    thread_rng().gen_range(0..limit)
}

/// Polls a future some times, and drops it unless it is done.
pub(crate) fn poll_times<T>(times: usize, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    for _ in 0..times {
        if let Poll::Ready(done) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return Some(done);
        }
        yield_now();
    }
    None
}

/// What the lock protects: never entered by two, and by each under a larger fence than before.
#[derive(Default)]
pub(crate) struct Room {
    inside: AtomicUsize,
    fence: AtomicU64,
    pub(crate) visits: AtomicUsize,
}

impl Room {
    pub(crate) fn visit(&self, fence: u64) {
        assert_eq!(self.inside.fetch_add(1, Ordering::SeqCst), 0, "two are inside");
        assert!(self.fence.swap(fence, Ordering::SeqCst) < fence, "the fence did not grow");
        yield_now();
        self.visits.fetch_add(1, Ordering::SeqCst);
        self.inside.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Tries to get the lock once, in some manner, and lets go of it in some manner.
pub(crate) fn take_part<S: Handle + AsyncHandle>(store: &S, name: &str, room: &Room) {
    let limit = Duration::from_millis(1 + draw(20) as u64);
    match draw(6) {
        0 => end(Lock::new(store, name).try_acquire(), room),
        1 => end(Lock::new(store, name).acquire(), room),
        2 => end(Lock::new(store, name).acquire_for(limit), room),
        3 => end_polled(block_on(aio::Lock::new(store, name).acquire()), room),
        4 => end_polled(block_on(aio::Lock::new(store, name).acquire_for(limit)), room),
        _ => {
            if let Some(held) = poll_times(draw(12), aio::Lock::new(store, name).acquire()) {
                end_polled(held, room);
            }
        }
    }
}

/// What a lock may answer where nothing is lost: it is held, not in time, or the store did not answer.
pub(crate) fn allowed<T>(answer: Result<T>) -> Option<T> {
    let fine = |error: &Error| error.is_contended() || error.is_timed_out() || error.is_unavailable();
    answer.inspect_err(|error| assert!(fine(error), "{error}")).ok()
}

fn end<S: Handle>(held: Result<Lock<S, Held>>, room: &Room) {
    let Some(held) = allowed(held) else { return };
    room.visit(held.fence().get());
    match draw(2) {
        0 => drop(held),
        _ => drop(allowed(held.release())),
    }
}

fn end_polled<S: AsyncHandle>(held: Result<aio::Lock<S, Held>>, room: &Room) {
    let Some(held) = allowed(held) else { return };
    room.visit(held.fence().get());
    match draw(3) {
        0 => drop(held),
        1 => drop(allowed(block_on(held.release()))),
        _ => drop(poll_times(draw(5), held.release())),
    }
}
