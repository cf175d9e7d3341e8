//! One waiting acquisition, thread or task, as others reach it.

use std::sync::{Arc, PoisonError};
use std::task::{Wake, Waker};
use std::time::Duration;

use crate::any::AnyGrant;
use crate::sync::thread::{self, Thread};
use crate::sync::{Mutex, MutexGuard, thread_local};
use crate::{Granted, Owner};

/// What releasers, listeners and the line before it tell a waiter.
#[derive(Debug)]
pub(crate) struct Waiter {
    owner: Owner,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    waker: Option<Waker>,
    news: News,
    given: Option<Granted<AnyGrant>>,
    over: bool,
}

/// What happened since the waiter looked last.
#[derive(Debug, Default)]
pub(crate) struct News {
    /// It became the first in line.
    pub(crate) promoted: Option<Promotion>,
    /// The lock may be free.
    pub(crate) notified: bool,
    /// This very process released it.
    pub(crate) released: bool,
    /// The first in line gave up on a store that does not answer; in its words.
    pub(crate) failed: Option<Arc<str>>,
}

/// How a waiter came to be the first in line.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Promotion {
    /// The one before it won; that one's release will be told. The lease that it won, if any.
    Behind {
        /// How long the winner's grant lasts if nobody renews it.
        lease: Option<Duration>,
        /// Whether this process must let others go first.
        rest: bool,
    },
    /// The one before it left without the lock.
    Vacant,
}

impl Waiter {
    pub(crate) fn new(owner: Owner) -> Arc<Self> {
        Arc::new(Self { owner, state: Mutex::default() })
    }

    pub(crate) fn owner(&self) -> Owner {
        self.owner
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what happened, and leaves word whom to wake next time.
    pub(crate) fn look(&self, waker: &Waker) -> (News, Option<Granted<AnyGrant>>) {
        let mut state = self.lock();
        if !state.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            state.waker = Some(waker.clone());
        }
        (std::mem::take(&mut state.news), state.given.take())
    }

    pub(crate) fn notify(&self) {
        self.tell(|news| news.notified = true);
    }

    pub(crate) fn release(&self) {
        self.tell(|news| news.released = true);
    }

    pub(crate) fn promote(&self, promotion: Promotion) {
        self.tell(|news| news.promoted = Some(promotion));
    }

    pub(crate) fn fail(&self, message: Arc<str>) {
        self.tell(|news| news.failed = Some(message));
    }

    fn tell(&self, tell: impl FnOnce(&mut News)) {
        let mut state = self.lock();
        tell(&mut state.news);
        let waker = state.waker.clone();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Hands it a grant, unless it is gone; then the grant comes back.
    pub(crate) fn give(&self, granted: Granted<AnyGrant>) -> Result<(), Granted<AnyGrant>> {
        let mut state = self.lock();
        if state.over {
            return Err(granted);
        }
        state.given = Some(granted);
        state.over = true;
        let waker = state.waker.clone();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }

    /// Takes no grant from now on; returns one that came before.
    pub(crate) fn close(&self) -> Option<Granted<AnyGrant>> {
        let mut state = self.lock();
        state.over = true;
        state.waker = None;
        state.given.take()
    }
}

/// Wakes a parked thread.
struct Parker(Thread);

impl Wake for Parker {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}

/// Calls `use_waker` with the waker of this thread, made once per thread.
pub(crate) fn with_thread_waker<T>(use_waker: impl FnOnce(&Waker) -> T) -> T {
    thread_local! {
        static WAKER: Waker = Waker::from(Arc::new(Parker(thread::current())));
    }
    match WAKER.try_with(Clone::clone) {
        Ok(waker) => use_waker(&waker),
        // The thread is ending and its locals are gone.
        Err(_) => use_waker(&Waker::from(Arc::new(Parker(thread::current())))),
    }
}
