//! One request at a time, for threads and tasks alike.

use std::fmt;
use std::future::poll_fn;
use std::sync::PoisonError;
use std::task::{Poll, Waker};

use crate::sync::{Mutex, MutexGuard, thread};
use crate::waiter::with_thread_waker;

/// Gives one caller after another the turn.
#[derive(Default)]
pub(crate) struct Turns(Mutex<State>);

#[derive(Default)]
struct State {
    taken: bool,
    waiting: Vec<Waker>,
}

/// The turn; passes on when dropped.
#[must_use]
pub(crate) struct Turn<'t>(&'t Turns);

impl Turns {
    pub(crate) fn try_take(&self) -> Option<Turn<'_>> {
        self.take_or(|_| ())
    }

    /// Blocks until it is this thread's turn.
    pub(crate) fn take(&self) -> Turn<'_> {
        loop {
            match with_thread_waker(|waker| self.take_or_wake(waker)) {
                Some(turn) => return turn,
                None => thread::park(),
            }
        }
    }

    /// Waits until it is this task's turn. A task that is gone by then holds nobody up: all who
    /// wait are woken.
    pub(crate) async fn take_polled(&self) -> Turn<'_> {
        poll_fn(|cx| self.take_or_wake(cx.waker()).map_or(Poll::Pending, Poll::Ready)).await
    }

    fn take_or_wake(&self, waker: &Waker) -> Option<Turn<'_>> {
        self.take_or(|state| {
            if !state.waiting.iter().any(|known| known.will_wake(waker)) {
                state.waiting.push(waker.clone());
            }
        })
    }

    fn take_or(&self, otherwise: impl FnOnce(&mut State)) -> Option<Turn<'_>> {
        let mut state = self.lock();
        if state.taken {
            otherwise(&mut state);
            return None;
        }
        state.taken = true;
        Some(Turn(self))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.taken = false;
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        waiting.into_iter().for_each(Waker::wake);
    }
}

impl fmt::Debug for Turns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Turns")
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Wake};

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn a_task_that_gave_up_swallows_no_turn() {
        let turns = Turns::default();
        let turn = turns.try_take().unwrap();
        assert!(turns.try_take().is_none());
        let (gone, stays) = (Arc::new(Count::default()), Arc::new(Count::default()));
        {
            let mut future = pin!(turns.take_polled());
            assert!(future.as_mut().poll(&mut Context::from_waker(&gone.into())).is_pending());
        }
        let waker = stays.clone().into();
        let mut future = pin!(turns.take_polled());
        assert!(future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        drop(turn);
        assert_eq!(stays.0.load(Ordering::SeqCst), 1);
        assert!(future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready());
    }

    #[test]
    fn threads_take_turns() {
        let (turns, count) = (Turns::default(), AtomicUsize::new(0));
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..1000 {
                        let _turn = turns.take();
                        let before = count.load(Ordering::Relaxed);
                        count.store(before + 1, Ordering::Relaxed);
                    }
                });
            }
        });
        assert_eq!(count.into_inner(), 4000);
    }
}
