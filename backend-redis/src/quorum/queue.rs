//! What one server is still to be asked, and whether it is asked at all.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tenure_core::Moment;

use super::ask::{Ask, Failure, Owed};
use super::gather::Close;

/// The requests to one server, in order.
#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    more: Condvar,
}

#[derive(Default)]
struct State {
    asks: VecDeque<Ask>,
    owed: VecDeque<Owed>,
    closing: Vec<(Moment, Arc<dyn Close>)>,
    health: Health,
    closed: bool,
}

#[derive(Default)]
enum Health {
    #[default]
    Up,
    /// It did not answer, and is left alone until then.
    Down { until: Moment, pause: Duration, failure: Failure },
    /// It is being asked whether it is back.
    Trying { pause: Duration, failure: Failure },
}

/// How long a server that did not answer is left alone, at first and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// How many requests go out together at most.
const TOGETHER: usize = 256;

/// How many releases are remembered for a server that is down; the leases of others end by themselves.
const OWED: usize = 4096;

impl Health {
    /// Whether a request goes through now. The first one after a pause does.
    fn lets_through(&mut self, now: Moment) -> bool {
        match std::mem::take(self) {
            Self::Up => true,
            Self::Down { until, pause, failure } if until <= now => {
                *self = Self::Trying { pause, failure };
                true
            }
            down => {
                *self = down;
                false
            }
        }
    }

    /// Why a request did not go through.
    fn failure(&self) -> Failure {
        match self {
            Self::Down { failure, .. } | Self::Trying { failure, .. } => failure.clone().settled(),
            Self::Up => Failure::default(),
        }
    }
}

impl Queue {
    /// Closes a collection at a moment, or a little later if the server is slow.
    pub(super) fn close_at(&self, at: Moment, collection: Arc<dyn Close>) {
        self.state().closing.push((at, collection));
        self.more.notify_one();
    }

    /// There will be no more requests.
    pub(super) fn close(&self) {
        self.state().closed = true;
        self.more.notify_one();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(&self, ask: Ask) {
        let now = Moment::now();
        let mut state = self.state();
        if state.health.lets_through(now) {
            state.asks.push_back(ask);
            drop(state);
            self.more.notify_one();
            return;
        }
        let failure = state.health.failure();
        drop(state);
        self.owe(refuse(ask, &failure, now));
    }

    pub(super) fn owe(&self, owed: Option<Owed>) {
        let Some(owed) = owed else { return };
        let mut state = self.state();
        if let Health::Trying { .. } = &state.health {
            // Behind what it undoes, which may be the very request that was let through.
            state.asks.push_back(owed.into());
            return;
        }
        if state.owed.len() == OWED {
            state.owed.pop_front();
        }
        state.owed.push_back(owed);
        drop(state);
        self.more.notify_one();
    }

    /// It answered; or, if nothing was wanted of it any more, it is as unknown as before.
    pub(super) fn is_up(&self, answered: bool) {
        let mut state = self.state();
        state.health = match std::mem::take(&mut state.health) {
            Health::Trying { pause, failure } if !answered => {
                Health::Down { until: Moment::now(), pause, failure }
            }
            _ => Health::Up,
        };
    }

    /// Leaves the server alone for a while; returns what was to be asked meanwhile.
    pub(super) fn is_down(&self, failure: Failure) -> VecDeque<Ask> {
        let mut state = self.state();
        let pause = match &state.health {
            Health::Up => PAUSE.0,
            Health::Down { pause, .. } | Health::Trying { pause, .. } => (*pause * 2).min(PAUSE.1),
        };
        state.health = Health::Down { until: Moment::now() + pause, pause, failure };
        std::mem::take(&mut state.asks)
    }

    /// The next requests, what is owed first; `None` when there will be no more.
    pub(super) fn next(
        &self,
        closing: &mut Vec<(Moment, Arc<dyn Close>)>,
    ) -> Option<(Vec<Owed>, VecDeque<Ask>)> {
        let mut state = self.state();
        loop {
            let now = Moment::now();
            closing.append(&mut state.closing);
            let due: Vec<_> = closing.extract_if(.., |(at, _)| *at <= now).collect();
            if !due.is_empty() {
                drop(state);
                due.into_iter().for_each(|(_, collection)| collection.close());
                state = self.state();
                continue;
            }
            state.owed.retain(|owed| owed.until > now);
            let down_until = match &state.health {
                Health::Down { until, .. } => Some(*until),
                Health::Up | Health::Trying { .. } => None,
            };
            let pays = !state.owed.is_empty() && down_until.is_none_or(|until| until <= now);
            if pays || !state.asks.is_empty() {
                state.health.lets_through(now);
                let count = state.asks.len().min(TOGETHER);
                let asks = state.asks.drain(..count).collect();
                return Some((state.owed.drain(..).collect(), asks));
            }
            if state.closed {
                return None;
            }
            let pay_at = down_until.filter(|_| !state.owed.is_empty());
            let wake = closing.iter().map(|(at, _)| *at).chain(pay_at).min();
            state = match wake {
                None => self.more.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(at) => {
                    let left = at.since(now);
                    self.more.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }
}

/// Fails a request where no thread is at hand that could wait for other answers: they are not waited for.
pub(super) fn refuse(ask: Ask, failure: &Failure, now: Moment) -> Option<Owed> {
    let (rest, owed) = ask.failed(failure, now);
    if let Some((_, collection)) = rest.close {
        collection.close();
    }
    owed
}
