//! The store for threads.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tenure_core::{
    Advice, AnyBackend, Attempt, Backend, Cause, Claim, Error, Granted, Permits, Release, Renewal, Resolved,
    Restore, Result, Settings, SharedLocks, Site, Watch,
};

use crate::config::Builder;
use crate::diagnose;
use crate::keys::Keys;
use crate::listener::{Ears, Listener};
use crate::places::Places;
use crate::pool::{Answers, Tracker, Transport};
use crate::quick::{self, Quick};
use crate::resp::{Packed, Reply};
use crate::script::{self, Call, Dialect, How};
use crate::waited::Waited;
use crate::wire::Timed;

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
    listening: Option<Timed>,
    listener: Mutex<Option<Arc<Local>>>,
}

/// The listener of one process; a forked child starts its own.
struct Local {
    pid: u32,
    listener: Listener,
}

/// How long a waiter waits for the connection that listens.
const PATIENCE: Duration = Duration::from_secs(1);

impl Redis {
    /// Opens the store that a URL names: `redis://[[user]:password@]host[:port][/database]`,
    /// `rediss://` for TLS, `redis+unix:///path`.
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
        label: &str,
        settings: Settings,
        transport: Box<dyn Transport>,
        listening: Option<Timed>,
        dialect: Dialect,
    ) -> Self {
        let site = match dialect.queue {
            Some(_) => Site::queued(label, settings),
            None => Site::new(label, settings),
        };
        let places = dialect.queue.clone().map(|queue| Places::new(site.clone(), queue));
        let answers = transport.exchange(&Packed::command(quick::QUESTION), None);
        let quick =
            answers.ok().and_then(|answers| answers.replies.first().map(Quick::new)).unwrap_or_default();
        let listener = Mutex::default();
        Self(Arc::new(Inner { site, transport, dialect, quick, places, listening, listener }))
    }

    pub(crate) fn dialect(&self) -> &Dialect {
        &self.0.dialect
    }

    pub(crate) fn transport(&self) -> &dyn Transport {
        &*self.0.transport
    }

    /// Calls a script, by its text if the server does not know it yet.
    pub(crate) fn call(&self, call: &Call, track: Option<Tracker>) -> Result<(Reply, bool)> {
        let (reply, resent) = one(self.0.transport.exchange(&call.by_digest(), track)?)?;
        if !reply.is_no_script() {
            return Ok((reply, resent));
        }
        let (reply, again) = one(self.0.transport.exchange(&call.by_text(), track)?)?;
        Ok((reply, resent || again))
    }

    fn keys<'c>(&self, claim: &'c Claim) -> Result<Resolved<'c, Keys>> {
        claim.resolved(|| Ok(Arc::new(Keys::new(claim.key()))))
    }

    /// Asks for a lock, and for a place in its queue if it is not free.
    fn stand_in_queue(&self, claim: &Claim, keys: &Keys, places: &Places) -> Result<Attempt<()>> {
        let asking = places.asks(claim);
        let reply = self.call(&self.0.dialect.acquire(claim, keys, How::Wait)?, None).map(|(reply, _)| reply);
        asking.answered(reply.as_ref().ok());
        script::attempt(claim, &reply?)
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
        let Some(timed) = &self.0.listening else {
            return Err(Error::unavailable("there is no connection to listen on").settled());
        };
        let ears = Ears {
            waited: Waited::new(self.0.site.clone()),
            channel: self.0.dialect.channel.clone(),
            places: self.0.places.clone(),
        };
        let listener = Listener::start(timed.clone(), ears)?;
        let local = Arc::new(Local { pid, listener });
        *slot = Some(local.clone());
        Ok(local)
    }
}

/// The one answer to one command.
fn one(answers: Answers) -> Result<(Reply, bool)> {
    let Answers { replies, resent } = answers;
    let reply = replies.into_iter().next_back();
    reply.map(|reply| (reply, resent)).ok_or_else(|| Error::unavailable("the server gave no answer"))
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
        if let Some(places) = self.0.places.as_ref().filter(|_| claim.waits()) {
            return self.stand_in_queue(claim, &keys, places);
        }
        let local = self.listener();
        let listener = local.as_ref().map(|local| &local.listener);
        let awaited = listener.is_some_and(|listener| listener.is_awaited(&keys));
        let track = listener.and_then(|listener| listener.tracker(&keys));
        let how = if awaited { How::Wait } else { How::Try };
        let (reply, _) = self.call(&self.0.dialect.acquire(claim, &keys, how)?, track)?;
        script::attempt(claim, &reply)
    }

    fn renew(&self, due: Renewal<'_, ()>) -> Result<()> {
        let keys = self.keys(due.claim())?;
        let (reply, _) = self.call(&self.0.dialect.renew(due.claim(), &keys, due.ttl()), None)?;
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
        let together = |calls: &mut dyn Iterator<Item = Packed>| {
            let all = calls.fold(Packed::default(), |all, call| all.followed_by(&call));
            self.0.transport.exchange(&all, None)
        };
        let mut replies = match together(&mut calls.iter().map(Call::by_digest)) {
            Ok(answers) => answers.replies,
            Err(error) => return due.iter().map(|_| Err(script::unanswered(&error))).collect(),
        };
        if replies.iter().any(Reply::is_no_script) {
            // All of them once more: a renewal that is carried out twice does no harm.
            replies = match together(&mut calls.iter().map(Call::by_text)) {
                Ok(answers) => answers.replies,
                Err(error) => return due.iter().map(|_| Err(script::unanswered(&error))).collect(),
            };
        }
        replies.iter().map(|reply| script::verdict(reply, false)).collect()
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
        let (reply, again) = self.call(&dialect.release(end.claim(), &keys, end.keep()), None)?;
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
                local.listener.wait_until_it_listens(PATIENCE)?;
                Ok(Watch::queued(places.clone().promise(claim)).recheck_within(places.recheck()))
            }
        }
    }

    fn diagnose(&self) -> Vec<Advice> {
        let [info, fsync] = diagnose::QUESTIONS;
        let answers = self.0.transport.exchange(&Packed::command(info).and(fsync), None);
        diagnose::advice(&answers.map(|answers| answers.replies).unwrap_or_default(), self.0.site.settings())
    }
}

impl Restore for Redis {
    fn restore(&self, claim: &Claim) -> Result<Granted<()>> {
        let (reply, _) =
            self.call(&self.0.dialect.acquire(claim, &*self.keys(claim)?, How::Restore)?, None)?;
        match script::attempt(claim, &reply)? {
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
