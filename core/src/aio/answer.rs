//! One value from a thread to a task.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::sync::{Mutex, MutexGuard};

/// The future of a value that is given elsewhere; `None` if it never will be.
pub(crate) struct Answer<T>(Arc<Mutex<State<T>>>);

/// Gives the value.
pub(crate) struct Give<T>(Arc<Mutex<State<T>>>);

struct State<T> {
    value: Option<T>,
    over: bool,
    waker: Option<Waker>,
}

impl<T> Answer<T> {
    pub(crate) fn new() -> (Give<T>, Self) {
        let state = Arc::new(Mutex::new(State { value: None, over: false, waker: None }));
        (Give(state.clone()), Self(state))
    }
}

impl<T> Give<T> {
    pub(crate) fn give(self, value: T) {
        lock(&self.0).value = Some(value);
    }
}

impl<T> Drop for Give<T> {
    fn drop(&mut self) {
        let mut state = lock(&self.0);
        state.over = true;
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T> Future for Answer<T> {
    type Output = Option<T>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let mut state = lock(&self.0);
        if state.over {
            return Poll::Ready(state.value.take());
        }
        state.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

fn lock<T>(state: &Mutex<State<T>>) -> MutexGuard<'_, State<T>> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
