//! One of the servers: what it is still to be asked, and the thread that asks it.
//!
//! Requests go out in the order in which they came in, all that are there in one go. So a release never
//! overtakes the acquire that it undoes, whoever has given up waiting meanwhile. A server that does not
//! answer keeps only its own thread waiting: after that, requests fail at once, and now and then one goes
//! through to see whether it is back.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use tenure_core::{Error, Moment, Result, Site};

use super::ask::{Ask, Failure, Rest};
use super::gather::Close;
use super::queue::{Queue, refuse};
use crate::Redis;
use crate::plan::Plan;
use crate::resp::Packed;
use crate::script::{By, Call};

/// One server.
pub(super) struct Node {
    plan: Plan,
    site: Site,
    local: Mutex<Option<Local>>,
}

/// The requests of one process; a forked child has its own, and its own connections.
struct Local {
    pid: u32,
    queue: Arc<Queue>,
}

impl Node {
    pub(super) fn new(plan: Plan, site: Site) -> Self {
        Self { plan, site, local: Mutex::default() }
    }

    pub(super) fn label(&self) -> &str {
        self.plan.label()
    }

    /// Asks the server. Never waits.
    pub(super) fn ask(&self, ask: Ask) {
        match self.queue() {
            Ok(queue) => queue.add(ask),
            Err(error) => drop(refuse(ask, &Failure::new(self.plan.label(), &error), Moment::now())),
        }
    }

    /// Closes a collection at a moment, or a little later if the server is slow.
    pub(super) fn close_at(&self, at: Moment, collection: Arc<dyn Close>) {
        match self.queue() {
            Ok(queue) => queue.close_at(at, collection),
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
            plan: self.plan.clone(),
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
            local.queue.close();
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
    plan: Plan,
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
                    let failure = Failure::new(self.plan.label(), &error);
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
                let store = self.plan.open(self.site.clone())?;
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
                    let failure = Failure::new(self.plan.label(), &error);
                    for Sending { ask, again, .. } in together {
                        self.fail_with(ask, &failure.clone().in_doubt(again));
                    }
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
                    let rest = sending.ask.answered(self.plan.label(), reply, sending.again);
                    self.finish(rest, asks);
                }
            }
            together = unknown;
        }
        Ok(())
    }

    fn alone(&mut self, store: &Redis, ask: Ask, asks: &mut VecDeque<Ask>) -> Result<()> {
        match ask.alone(self.plan.label(), store) {
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
        if let Some((claim, attempt)) = rest.take_back {
            asks.push_front(Ask::TakeBack { claim, attempt });
        }
    }

    fn fail(&mut self, ask: Ask, error: &Error) {
        self.fail_with(ask, &Failure::new(self.plan.label(), error));
    }

    fn fail_with(&mut self, ask: Ask, failure: &Failure) {
        let (rest, owed) = ask.failed(failure, Moment::now());
        self.closing.extend(rest.close);
        self.queue.owe(owed);
    }
}
