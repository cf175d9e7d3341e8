//! The store for threads.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tenure_core::{
    Advice, AnyBackend, Attempt, Backend, Cause, Claim, Error, Granted, Permits, Release, Renewal, Resolved,
    Restore, Result, SharedLocks, Site, Watch,
};

use crate::acks::{self, Acks};
use crate::config::Builder;
use crate::diagnose::{self, Checkup};
use crate::ear::Hearing;
use crate::keys::Keys;
use crate::listener::Ears;
use crate::listeners::Listeners;
use crate::places::Places;
use crate::pool::{Answers, Tracker, Transport, doubtful};
use crate::quick::{self, Quick};
use crate::resp::{Packed, Reply};
use crate::script::{self, Attempted, By, Call, Dialect, How};
use crate::waited::Waited;

/// Locks in a Redis or Valkey server.
///
/// A cheap handle; clones share connections and everything else. See the [crate] for what it
/// promises.
#[derive(Clone)]
pub struct Redis(Arc<Inner>);

struct Inner {
    site: Site,
    transport: Box<dyn Transport>,
    dialect: Dialect,
    quick: Quick,
    places: Option<Arc<Places>>,
    hearing: Arc<dyn Hearing>,
    listener: Mutex<Option<Arc<Local>>>,
}

/// The listeners of one process; a forked child starts its own.
struct Local {
    pid: u32,
    listener: Listeners,
}

/// How long a waiter waits for the connection that listens.
const PATIENCE: Duration = Duration::from_secs(1);

impl Redis {
    /// Opens the store that a URL names: `redis://[[user]:password@]host[:port][/database]`,
    /// `rediss://` for TLS, `redis+unix:///path`,
    /// `redis+cluster://[[user]:password@]host[:port][,host[:port]..]`,
    /// `redis+sentinel://[[user]:password@]host[:port][,host[:port]..]/master[/database]`.
    ///
    /// Options of any of them, behind a `?` and with `&` in between: `profile`, as [`Profile`](crate::Profile)
    /// has it; `fair`, `guard`, each `1` or `0`; `wake`, `auto` or `channel`. A socket also has `user`, `pass`
    /// and `db`. The [`Builder`] tells what they do.
    ///
    /// # Errors
    ///
    /// As [`Builder::connect`].
    pub fn connect(url: &str) -> Result<Self> {
        Self::builder(url).connect()
    }

    /// Opens a store with settings and time limits of its own.
    #[must_use]
    pub fn builder(url: &str) -> Builder {
        Builder::new(url)
    }

    pub(crate) fn new(
        site: Site,
        transport: Box<dyn Transport>,
        hearing: Arc<dyn Hearing>,
        dialect: Dialect,
    ) -> Self {
        let places = dialect.queue.clone().map(|queue| Places::new(site.clone(), queue));
        let answers = transport.exchange(&Packed::command(quick::QUESTION), None);
        let quick =
            answers.ok().and_then(|answers| answers.replies.first().map(Quick::new)).unwrap_or_default();
        let listener = Mutex::default();
        Self(Arc::new(Inner { site, transport, dialect, quick, places, hearing, listener }))
    }

    pub(crate) fn dialect(&self) -> &Dialect {
        &self.0.dialect
    }

    pub(crate) fn transport(&self) -> &dyn Transport {
        &*self.0.transport
    }

    /// Calls a script, by its text if the server does not know it yet.
    pub(crate) fn call(&self, call: &Call, track: Option<Tracker>) -> Result<(Reply, bool)> {
        self.ask(call, track, None)
    }

    /// Calls a script whose answer counts only if enough replicas have heard of it.
    fn call_heard(&self, call: &Call, track: Option<Tracker>) -> Result<(Reply, bool)> {
        self.ask(call, track, self.0.dialect.acks)
    }

    fn ask(&self, call: &Call, track: Option<Tracker>, acks: Option<Acks>) -> Result<(Reply, bool)> {
        let ask = |by| {
            let packed = call.packed(by).and_ask(acks);
            let Answers { replies, resent } = self.0.transport.exchange(&packed, track)?;
            Ok((acks::only(replies, acks)?, resent))
        };
        let (reply, resent) = ask(By::Digest)?;
        if !reply.is_no_script() {
            return Ok((reply, resent));
        }
        let (reply, again) = ask(By::Text).map_err(|error| doubtful(error, resent))?;
        Ok((reply, resent || again))
    }

    /// Asks for a lock as part of a larger store, and to be told of its changes if this process waits.
    pub(crate) fn attempt(&self, claim: &Claim, attempt: Attempted) -> Result<(Reply, bool)> {
        let keys = self.keys(claim)?;
        let (how, track) = self.manner(&keys);
        self.call(&self.0.dialect.attempt(claim, &keys, how, attempt)?, track)
    }

    fn keys<'c>(&self, claim: &'c Claim) -> Result<Resolved<'c, Keys>> {
        claim.resolved(|| Ok(Arc::new(Keys::checked(claim.key())?)))
    }

    /// Asks for a lock, as one that waits if it does.
    fn ask_for(&self, claim: &Claim, keys: &Keys) -> Result<(Reply, bool)> {
        if let Some(places) = self.0.places.as_ref().filter(|_| claim.waits()) {
            let call = self.0.dialect.acquire(claim, keys, How::Wait)?;
            let asking = places.asks(claim);
            let answer = self.call_heard(&call, None);
            asking.answered(answer.as_ref().ok().map(|(reply, _)| reply));
            return answer;
        }
        let (how, track) = self.manner(keys);
        self.call_heard(&self.0.dialect.acquire(claim, keys, how)?, track)
    }

    /// How to ask for a lock, and who is to be told of its changes, if this process waits for it.
    fn manner(&self, keys: &Keys) -> (How, Option<Tracker>) {
        let local = self.listener();
        let listener = local.as_ref().map(|local| &local.listener);
        let awaited = listener.is_some_and(|listener| listener.is_awaited(keys));
        let track = listener.and_then(|listener| listener.tracker(keys));
        (if awaited { How::Wait } else { How::Try }, track)
    }

    fn listener(&self) -> Option<Arc<Local>> {
        let local = self.0.listener.lock().unwrap_or_else(PoisonError::into_inner);
        local.clone().filter(|local| local.pid == std::process::id())
    }

    fn start_listener(&self) -> Result<Arc<Local>> {
        let mut slot = self.0.listener.lock().unwrap_or_else(PoisonError::into_inner);
        let pid = std::process::id();
        if let Some(local) = slot.as_ref().filter(|local| local.pid == pid) {
            return Ok(local.clone());
        }
        let ears = Ears {
            waited: Waited::new(self.0.site.clone()),
            channel: self.0.dialect.channel.clone(),
            places: self.0.places.clone(),
        };
        let listener = Listeners::new(self.0.hearing.clone(), ears);
        let local = Arc::new(Local { pid, listener });
        *slot = Some(local.clone());
        Ok(local)
    }
}

/// Whether the server tells of changed keys.
pub(crate) fn can_track(transport: &dyn Transport) -> Result<bool> {
    let ask = Packed::command(&[b"PING"]).and(&[b"CLIENT", b"TRACKING", b"OFF"]);
    let replies = transport.exchange(&ask, None)?.replies;
    match &replies[..] {
        [refused @ Reply::Error(_), _] => Err(script::odd(refused)),
        [_, Reply::Error(_)] => Ok(false),
        [_, _] => Ok(true),
        _ => Err(Error::unavailable("the server gave no answer")),
    }
}

impl Backend for Redis {
    /// The server has it all under the claim's key and token.
    type Grant = ();
    type Handle = Self;

    fn handle(&self) -> Self {
        self.clone()
    }

    fn site(&self) -> &Site {
        &self.0.site
    }

    fn try_acquire(&self, claim: &Claim) -> Result<Attempt<()>> {
        let keys = self.keys(claim)?;
        let (reply, resent) = self.ask_for(claim, &keys)?;
        if acks::is_unheard(&reply) {
            let released = self.call(&self.0.dialect.release(claim, &keys, None), None);
            return match released {
                Ok(_) => script::attempt(claim, &reply, false).map_err(Error::settled),
                Err(error) => Err(doubtful(error, true)),
            };
        }
        script::attempt(claim, &reply, resent)
    }

    fn renew(&self, due: Renewal<'_, ()>) -> Result<()> {
        let keys = self.keys(due.claim())?;
        let (reply, _) = self.call_heard(&self.0.dialect.renew(due.claim(), &keys, due.ttl()), None)?;
        script::verdict(&reply, false)
    }

    fn renew_many(&self, due: &[Renewal<'_, ()>]) -> Vec<Result<()>> {
        let call = |due: &Renewal<'_, ()>| -> Result<Call> {
            Ok(self.0.dialect.renew(due.claim(), &*self.keys(due.claim())?, due.ttl()))
        };
        let calls = match due.iter().map(call).collect::<Result<Vec<_>>>() {
            Ok(calls) => calls,
            Err(_) => return due.iter().map(|due| self.renew(*due)).collect(),
        };
        let together = |calls: &[&Call], by: By| {
            let all: Vec<Packed> = calls.iter().map(|call| call.packed(by)).collect();
            self.0.transport.exchange_each(&all, self.0.dialect.acks)
        };
        let mut answers = together(&calls.iter().collect::<Vec<_>>(), By::Digest);
        let unknown = |answer: &Result<Reply>| answer.as_ref().is_ok_and(Reply::is_no_script);
        let again: Vec<usize> = (0..answers.len()).filter(|place| unknown(&answers[*place])).collect();
        if !again.is_empty() {
            let calls: Vec<&Call> = again.iter().map(|place| &calls[*place]).collect();
            for (place, answer) in again.into_iter().zip(together(&calls, By::Text)) {
                answers[place] = answer;
            }
        }
        answers.into_iter().map(|answer| script::verdict(&answer?, false)).collect()
    }

    fn release(&self, end: Release<'_, ()>) -> Result<()> {
        let keys = self.keys(end.claim())?;
        let (dialect, mut resent) = (&self.0.dialect, false);
        if let Some(quick) = self.0.quick.release(dialect, end.claim(), &keys, end.keep()) {
            let (reply, again) = self.call(&quick, None)?;
            if self.0.quick.has_released(&reply) {
                return Ok(());
            }
            resent = again;
        }
        let released = self.call(&dialect.release(end.claim(), &keys, end.keep()), None);
        let (reply, again) = released.map_err(|error| doubtful(error, resent))?;
        script::verdict(&reply, resent || again)
    }

    fn abandon(&self, claim: &Claim) {
        if let Ok(keys) = self.keys(claim) {
            let release = Arc::new(self.0.dialect.release(claim, &keys, None));
            if let Some(places) = &self.0.places {
                places.gives_up(claim, release.clone());
            }
            let _ = self.call(&release, None);
        }
    }

    fn watch(&self, claim: &Claim) -> Result<Watch> {
        let keys = self.keys(claim)?;
        let local = self.start_listener()?;
        match &self.0.places {
            None => local.listener.register(claim.key(), &keys, PATIENCE).map(Watch::armed),
            Some(places) => {
                local.listener.wait_until_it_listens(&keys, PATIENCE)?;
                Ok(Watch::queued(places.clone().promise(claim)).recheck_within(places.recheck()))
            }
        }
    }

    fn is_awaited(&self, claim: &Claim) -> bool {
        let Ok(keys) = self.keys(claim) else { return false };
        let answer = self.call(&self.0.dialect.awaited(&keys), None);
        // Without an answer, one merely waits less fairly.
        answer.is_ok_and(|(reply, _)| reply.int() == Some(1))
    }

    fn diagnose(&self) -> Vec<Advice> {
        let checkup = Checkup::new(self.0.site.settings(), &self.0.dialect);
        let ask = |server: &dyn Transport| {
            let questions = checkup.questions().iter().fold(Packed::default(), |all, next| all.and(next));
            let answers = server.exchange(&questions, None);
            checkup.advice(&answers.map(|answers| answers.replies).unwrap_or_default())
        };
        match self.0.transport.parts() {
            Ok(parts) if !parts.is_empty() => diagnose::once(parts.iter().map(|part| ask(&**part))),
            _ => ask(&*self.0.transport),
        }
    }
}

impl Restore for Redis {
    fn restore(&self, claim: &Claim) -> Result<Granted<()>> {
        let (reply, resent) =
            self.call_heard(&self.0.dialect.acquire(claim, &*self.keys(claim)?, How::Restore)?, None)?;
        match script::attempt(claim, &reply, resent)? {
            Attempt::Granted(granted) => Ok(granted),
            Attempt::Denied(_) => Err(Error::lost(Cause::Superseded)),
        }
    }
}

impl SharedLocks for Redis {}

impl Permits for Redis {}

impl From<Redis> for AnyBackend {
    fn from(store: Redis) -> Self {
        Self::erase(store).inspect().restore().shared().permits().build()
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis").field("store", &self.0.site.label()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use tenure_core::Lock;

    use super::*;
    use crate::ear::Listen;
    use crate::pool::Broken;
    use crate::wire::Whereabouts;

    /// Gives these answers, in order.
    struct Scripted(Mutex<VecDeque<Result<Answers>>>);

    impl Transport for Scripted {
        fn exchange(&self, _: &Packed, _: Option<Tracker>) -> Result<Answers> {
            let next = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            next.unwrap_or_else(|| Ok(Answers { replies: vec![Reply::Int(0)], resent: false }))
        }
    }

    struct Deaf;

    impl Whereabouts for Deaf {}

    impl Hearing for Deaf {
        fn hear(&self, _: u64, _: &[&[u8]], _: Duration, _: Listen<'_>) -> std::result::Result<(), Broken> {
            Ok(())
        }

        fn say(&self, _: u64, _: &Packed) {}
    }

    /// How an attempt ends for which the server, or the way to it, has these answers.
    fn ended(answers: Vec<Result<Answers>>) -> Error {
        // The first is to the question what the server can do.
        let first = Ok(Answers { replies: vec![Reply::Nil], resent: false });
        let transport = Scripted(Mutex::new(std::iter::once(first).chain(answers).collect()));
        let plan = Redis::builder("redis://h").plan().expect("it is a URL");
        let store = Redis::new(plan.site(), Box::new(transport), Arc::new(Deaf), plan.dialect(true));
        Lock::new(&store, "a").try_acquire().expect_err("nobody grants it")
    }

    fn said(error: &str, resent: bool) -> Result<Answers> {
        Ok(Answers { replies: vec![Reply::Error(error.into())], resent })
    }

    #[test]
    fn what_is_refused_is_in_doubt_only_if_it_was_sent_before() {
        for (resent, settled) in [(false, true), (true, false)] {
            let error = ended(vec![said("OOM no memory", resent)]);
            assert!(error.is_unavailable() && error.is_settled() == settled, "{error:?}");
            let refused = || Err(Error::unavailable("no connection").settled());
            let error = ended(vec![said("NOSCRIPT", resent), refused()]);
            assert!(error.is_unavailable() && error.is_settled() == settled, "{error:?}");
            let error = ended(vec![said("NOSCRIPT", resent), said("OOM no memory", false)]);
            assert!(error.is_unavailable() && error.is_settled() == settled, "{error:?}");
        }
    }
}
