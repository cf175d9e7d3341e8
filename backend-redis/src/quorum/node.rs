//! One of the servers: what it is still to be asked, and the thread that asks it.
//!
//! Requests go out in the order in which they came in, all that are there in one go. So a release never
//! overtakes the acquire that it undoes, whoever has given up waiting meanwhile. A server that does not
//! answer keeps only its own thread waiting: after that, requests fail at once, and now and then one goes
//! through to see whether it is back.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tenure_core::{Error, Moment, Result, Site};

use super::ask::{Ask, Failure, Owed, Rest};
use super::gather::Close;
use crate::resp::Packed;
use crate::script::{By, Call};
use crate::{Builder, Redis};

/// One server.
pub(super) struct Node {
    label: Box<str>,
    builder: Builder,
    site: Site,
    local: Mutex<Option<Local>>,
}

/// The requests of one process; a forked child has its own, and its own connections.
struct Local {
    pid: u32,
    queue: Arc<Queue>,
}

#[derive(Default)]
struct Queue {
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

impl Node {
    pub(super) fn new(label: Box<str>, builder: Builder, site: Site) -> Self {
        Self { label, builder, site, local: Mutex::default() }
    }

    pub(super) fn label(&self) -> &str {
        &self.label
    }

    /// Asks the server. Never waits.
    pub(super) fn ask(&self, ask: Ask) {
        match self.queue() {
            Ok(queue) => queue.add(ask),
            Err(error) => drop(ask.failed(&Failure::new(&self.label, &error), Moment::now())),
        }
    }

    /// Closes a collection at a moment, or a little later if the server is slow.
    pub(super) fn close_at(&self, at: Moment, collection: Arc<dyn Close>) {
        match self.queue() {
            Ok(queue) => {
                queue.state().closing.push((at, collection));
                queue.more.notify_one();
            }
            Err(_) => collection.close(),
        }
    }

    fn queue(&self) -> Result<Arc<Queue>> {
        let mut local = self.local.lock().unwrap_or_else(PoisonError::into_inner);
        let pid = std::process::id();
        if let Some(local) = local.as_ref().filter(|local| local.pid == pid) {
            return Ok(local.queue.clone());
        }
        let queue = Arc::<Queue>::default();
        let mut worker = Worker {
            label: self.label.clone(),
            builder: self.builder.clone(),
            site: self.site.clone(),
            queue: queue.clone(),
            store: None,
            closing: Vec::new(),
        };
        thread::Builder::new()
            .name("tenure-redis-node".into())
            .spawn(move || worker.run())
            .map_err(|source| Error::unavailable("no thread to speak with").with_source(source).settled())?;
        *local = Some(Local { pid, queue: queue.clone() });
        Ok(queue)
    }
}

impl Drop for Node {
    /// What is under way is carried out, and then the thread ends.
    fn drop(&mut self) {
        let local = self.local.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(local) = local.as_ref().filter(|local| local.pid == std::process::id()) {
            local.queue.state().closed = true;
            local.queue.more.notify_one();
        }
    }
}

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
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, ask: Ask) {
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
        let (_, owed) = ask.failed(&failure, now);
        self.owe(owed);
    }

    fn owe(&self, owed: Option<Owed>) {
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
    fn is_up(&self, answered: bool) {
        let mut state = self.state();
        state.health = match std::mem::take(&mut state.health) {
            Health::Trying { pause, failure } if !answered => {
                Health::Down { until: Moment::now(), pause, failure }
            }
            _ => Health::Up,
        };
    }

    /// Leaves the server alone for a while; returns what was to be asked meanwhile.
    fn is_down(&self, failure: Failure) -> VecDeque<Ask> {
        let mut state = self.state();
        let pause = match &state.health {
            Health::Up => PAUSE.0,
            Health::Down { pause, .. } | Health::Trying { pause, .. } => (*pause * 2).min(PAUSE.1),
        };
        state.health = Health::Down { until: Moment::now() + pause, pause, failure };
        std::mem::take(&mut state.asks)
    }

    /// The next requests, what is owed first; `None` when there will be no more.
    fn next(&self, closing: &mut Vec<(Moment, Arc<dyn Close>)>) -> Option<(Vec<Owed>, VecDeque<Ask>)> {
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

/// A request on its way.
struct Sending {
    ask: Ask,
    call: Call,
    /// Whether it may have been carried out before.
    again: bool,
}

/// The thread of a server.
struct Worker {
    label: Box<str>,
    builder: Builder,
    site: Site,
    queue: Arc<Queue>,
    store: Option<Redis>,
    closing: Vec<(Moment, Arc<dyn Close>)>,
}

impl Worker {
    fn run(&mut self) {
        while let Some((owed, asks)) = self.queue.next(&mut self.closing) {
            let mut asks: VecDeque<Ask> = owed.into_iter().map(Ask::from).chain(asks).collect();
            match self.serve(&mut asks) {
                Ok(answered) => self.queue.is_up(answered),
                Err(error) => {
                    let failure = Failure::new(&self.label, &error);
                    let later = self.queue.is_down(failure.clone());
                    // These were never sent.
                    let failure = failure.settled();
                    asks.into_iter().chain(later).for_each(|ask| self.fail_with(ask, &failure));
                }
            }
        }
    }

    /// Asks what is there. True if the server answered anything.
    fn serve(&mut self, asks: &mut VecDeque<Ask>) -> Result<bool> {
        let mut answered = self.store.is_none();
        let store = match &self.store {
            Some(store) => store.clone(),
            None => {
                let store = self.builder.clone().connect()?.at_site(&self.site);
                self.store.insert(store).clone()
            }
        };
        while !asks.is_empty() {
            let mut together = Vec::new();
            let mut alone = None;
            while let Some(ask) = asks.pop_front() {
                if ask.is_pointless() {
                    continue;
                }
                match ask.call(store.dialect(), &self.site) {
                    Ok(Some(call)) => together.push(Sending { ask, call, again: false }),
                    Ok(None) => {
                        alone = Some(ask);
                        break;
                    }
                    Err(error) => self.fail(ask, &error),
                }
            }
            answered |= !together.is_empty() || alone.is_some();
            let sent = self.together(&store, together, asks);
            match alone {
                Some(ask) if sent.is_err() => asks.push_front(ask),
                Some(ask) => self.alone(&store, ask, asks)?,
                None => {}
            }
            sent?;
        }
        Ok(answered)
    }

    /// Calls scripts in one go, and once more by their texts those that the server does not know.
    fn together(
        &mut self,
        store: &Redis,
        mut together: Vec<Sending>,
        asks: &mut VecDeque<Ask>,
    ) -> Result<()> {
        for by in [By::Digest, By::Text] {
            if together.is_empty() {
                return Ok(());
            }
            let all = |all: Packed, call: Packed| all.followed_by(&call);
            let packed = together.iter().map(|sending| sending.call.packed(by)).fold(Packed::default(), all);
            let answers = match store.transport().exchange(&packed, None) {
                Ok(answers) => answers,
                Err(error) => {
                    together.into_iter().for_each(|sending| self.fail(sending.ask, &error));
                    return Err(error);
                }
            };
            let mut unknown: Vec<Sending> = Vec::new();
            for (mut sending, reply) in together.into_iter().zip(&answers.replies) {
                sending.again |= answers.resent;
                if reply.is_no_script() {
                    unknown.push(sending);
                } else if !unknown.is_empty() && sending.ask.is_repeatable() {
                    // What came behind one that was not carried out may have needed it.
                    unknown.push(Sending { again: true, ..sending });
                } else {
                    let rest = sending.ask.answered(&self.label, reply, sending.again);
                    self.finish(rest, asks);
                }
            }
            together = unknown;
        }
        Ok(())
    }

    fn alone(&mut self, store: &Redis, ask: Ask, asks: &mut VecDeque<Ask>) -> Result<()> {
        match ask.alone(&self.label, store) {
            Ok(rest) => self.finish(rest, asks),
            Err(unanswered) => {
                let (error, ask) = *unanswered;
                self.fail(ask, &error);
                return Err(error);
            }
        }
        Ok(())
    }

    fn finish(&mut self, rest: Rest, asks: &mut VecDeque<Ask>) {
        self.closing.extend(rest.close);
        if let Some(claim) = rest.take_back {
            asks.push_front(Ask::Release { claim, keep: None, ballot: None });
        }
    }

    fn fail(&mut self, ask: Ask, error: &Error) {
        self.fail_with(ask, &Failure::new(&self.label, error));
    }

    fn fail_with(&mut self, ask: Ask, failure: &Failure) {
        let (rest, owed) = ask.failed(failure, Moment::now());
        self.closing.extend(rest.close);
        self.queue.owe(owed);
    }
}
