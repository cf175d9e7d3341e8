//! The store for tasks: one connection that all of them share.

use std::fmt;
use std::sync::Arc;

use tenure_core::aio::{self, AsyncBackend, AsyncInspect, AsyncRestore, Task};
use tenure_core::{
    Advice, Attempt, Breaking, Cause, Claim, Error, Granted, Holder, Name, Permits, Release, Renewal,
    Resolved, Result, SharedLocks, Site, Watch,
};
use tokio::runtime::Handle;

use crate::acks;
use crate::diagnose::{self, Checkup};
use crate::ears::Ears;
use crate::inspect::{Scan, key_of};
use crate::keys::Keys;
use crate::link::Limits;
use crate::net::{Manner, Net, Servers};
use crate::places::Places;
use crate::pool::doubtful;
use crate::quick::{self, Quick};
use crate::resp::Reply;
use crate::script::{self, By, Call, Dialect, How};
use crate::waited::Waited;

/// Locks in a Redis or Valkey server, for asynchronous code.
///
/// A cheap handle; clones share one connection, which is made anew when it fails. It works in the
/// tokio runtime that it was connected in; its futures can be polled by any executor as long as that
/// runtime runs.
///
/// A server alone may be of any age. In a cluster and behind sentinels they have to know RESP3, as those
/// since Redis 6 do: on an older one a connection that listens can do nothing else.
#[derive(Clone)]
pub struct AsyncRedis(Arc<Inner>);

struct Inner {
    site: Site,
    net: Arc<Net>,
    dialect: Dialect,
    quick: Quick,
    ears: Arc<Ears>,
    places: Option<Arc<Places>>,
}

impl AsyncRedis {
    /// Opens the store that a URL names, as [`Redis::connect`](crate::Redis::connect).
    ///
    /// # Errors
    ///
    /// As [`Builder::connect_async`](crate::Builder::connect_async).
    ///
    /// # Cancel safety
    ///
    /// Dropped half-way, it has opened nothing that stays open.
    pub async fn connect(url: &str) -> Result<Self> {
        crate::Redis::builder(url).connect_async().await
    }

    pub(crate) async fn open(
        servers: Servers,
        site: Site,
        limits: Limits,
        dialect: impl FnOnce(bool) -> Dialect,
    ) -> Result<Self> {
        let runtime = Handle::try_current().map_err(|_| {
            Error::misconfigured("an asynchronous Redis store is connected from within a tokio runtime")
        })?;
        let waited = Waited::new(site.clone());
        let ears = Arc::new(Ears::new(waited));
        let (net, tracks) = Net::open(servers, runtime, limits, ears.clone()).await?;
        let (net, dialect) = (Arc::new(net), dialect(tracks));
        let places = dialect.queue.clone().map(|queue| Places::new(site.clone(), queue));
        ears.set(&dialect.channel, places.clone(), &net);
        let quick = net.ask(quick::QUESTION).await.map(|answer| Quick::new(&answer)).unwrap_or_default();
        Ok(Self(Arc::new(Inner { site, net, dialect, quick, ears, places })))
    }

    /// Asks for a lock, as one that waits if it does.
    async fn ask_for(&self, claim: &Claim, keys: &Keys) -> Result<(Reply, bool)> {
        let queue = self.0.places.as_ref().filter(|_| claim.waits());
        let waits = queue.is_some() || self.0.ears.waited.is_awaited(keys);
        let call = self.0.dialect.acquire(claim, keys, if waits { How::Wait } else { How::Try })?;
        let asking = queue.map(|places| places.asks(claim));
        let answer = self.call_heard(&call, waits && queue.is_none()).await;
        if let Some(asking) = asking {
            asking.answered(answer.as_ref().ok().map(|(reply, _)| reply));
        }
        answer
    }

    fn keys<'c>(&self, claim: &'c Claim) -> Result<Resolved<'c, Keys>> {
        claim.resolved(|| Ok(Arc::new(Keys::checked(claim.key())?)))
    }

    /// Calls a script, by its text if the server does not know it yet.
    async fn call(&self, call: &Call, track: bool) -> Result<(Reply, bool)> {
        self.ask(call, Manner { track, ..Manner::plain() }).await
    }

    /// Calls a script whose answer counts only if enough replicas have heard of it.
    async fn call_heard(&self, call: &Call, track: bool) -> Result<(Reply, bool)> {
        self.ask(call, Manner { track, acks: self.0.dialect.acks, ..Manner::plain() }).await
    }

    async fn ask(&self, call: &Call, manner: Manner) -> Result<(Reply, bool)> {
        let (reply, resent) = self.0.net.exchange(call, manner).await?;
        if !reply.is_no_script() {
            return Ok((reply, resent));
        }
        let told = self.0.net.exchange(call, Manner { by: By::Text, ..manner }).await;
        let (reply, again) = told.map_err(|error| doubtful(error, resent))?;
        Ok((reply, resent || again))
    }
}

impl AsyncBackend for AsyncRedis {
    /// The server has it all under the claim's key and token.
    type Grant = ();
    type Handle = Self;

    fn handle(&self) -> Self {
        self.clone()
    }

    fn site(&self) -> &Site {
        &self.0.site
    }

    async fn try_acquire(&self, claim: &Claim) -> Result<Attempt<()>> {
        let keys = self.keys(claim)?;
        let (reply, resent) = self.ask_for(claim, &keys).await?;
        if acks::is_unheard(&reply) {
            return match self.call(&self.0.dialect.release(claim, &keys, None), false).await {
                Ok(_) => script::attempt(claim, &reply, false).map_err(Error::settled),
                Err(error) => Err(doubtful(error, true)),
            };
        }
        script::attempt(claim, &reply, resent)
    }

    async fn renew(&self, due: Renewal<'_, ()>) -> Result<()> {
        let keys = self.keys(due.claim())?;
        let call = self.0.dialect.renew(due.claim(), &keys, due.ttl());
        let (reply, _) = self.call_heard(&call, false).await?;
        script::verdict(&reply, false)
    }

    async fn renew_many(&self, due: &[Renewal<'_, ()>]) -> Vec<Result<()>> {
        let call = |due: &Renewal<'_, ()>| -> Result<Call> {
            Ok(self.0.dialect.renew(due.claim(), &*self.keys(due.claim())?, due.ttl()))
        };
        let calls = match due.iter().map(call).collect::<Result<Vec<_>>>() {
            Ok(calls) => calls,
            Err(_) => {
                let mut each = Vec::with_capacity(due.len());
                for due in due {
                    each.push(self.renew(*due).await);
                }
                return each;
            }
        };
        let calls: Vec<&Call> = calls.iter().collect();
        let manner = Manner { acks: self.0.dialect.acks, ..Manner::plain() };
        let mut answers = self.0.net.exchange_each(&calls, manner).await;
        let unknown = |answer: &Result<Reply>| answer.as_ref().is_ok_and(Reply::is_no_script);
        let again: Vec<usize> = (0..answers.len()).filter(|place| unknown(&answers[*place])).collect();
        if !again.is_empty() {
            let calls: Vec<&Call> = again.iter().map(|place| calls[*place]).collect();
            let told = self.0.net.exchange_each(&calls, Manner { by: By::Text, ..manner }).await;
            for (place, answer) in again.into_iter().zip(told) {
                answers[place] = answer;
            }
        }
        answers.into_iter().map(|answer| script::verdict(&answer?, false)).collect()
    }

    async fn release(&self, end: Release<'_, ()>) -> Result<()> {
        let keys = self.keys(end.claim())?;
        let (dialect, mut resent) = (&self.0.dialect, false);
        if let Some(quick) = self.0.quick.release(dialect, end.claim(), &keys, end.keep()) {
            let (reply, again) = self.call(&quick, false).await?;
            if self.0.quick.has_released(&reply) {
                return Ok(());
            }
            resent = again;
        }
        let released = self.call(&dialect.release(end.claim(), &keys, end.keep()), false).await;
        let (reply, again) = released.map_err(|error| doubtful(error, resent))?;
        script::verdict(&reply, resent || again)
    }

    fn spawn(&self, task: Task) {
        drop(self.0.net.runtime.spawn(task));
    }

    async fn abandon(&self, claim: &Claim) {
        if let Ok(keys) = self.keys(claim) {
            let release = Arc::new(self.0.dialect.release(claim, &keys, None));
            if let Some(places) = &self.0.places {
                places.gives_up(claim, release.clone());
            }
            let _ = self.call(&release, false).await;
        }
    }

    async fn watch(&self, claim: &Claim) -> Result<Watch> {
        let keys = self.keys(claim)?;
        if let Some(channel) = self.0.ears.channel() {
            self.0.net.listen(keys.own(), channel).await?;
        }
        Ok(match &self.0.places {
            None => Watch::armed(self.0.ears.waited.clone().register(claim.key(), &keys)),
            Some(places) => Watch::queued(places.clone().promise(claim)).recheck_within(places.recheck()),
        })
    }

    async fn is_awaited(&self, claim: &Claim) -> bool {
        let Ok(keys) = self.keys(claim) else { return false };
        let answer = self.call(&self.0.dialect.awaited(&keys), false).await;
        // Without an answer, one merely waits less fairly.
        answer.is_ok_and(|(reply, _)| reply.int() == Some(1))
    }

    async fn diagnose(&self) -> Vec<Advice> {
        let checkup = Checkup::new(self.0.site.settings(), &self.0.dialect);
        let mut advice = Vec::new();
        for server in self.0.net.parts().await.unwrap_or_default() {
            let mut answers = Vec::new();
            for question in checkup.questions() {
                let question: Vec<Vec<u8>> = question.iter().map(|word| word.to_vec()).collect();
                answers.push(server.ask(&question).await.unwrap_or(Reply::Nil));
            }
            advice.push(checkup.advice(&answers));
        }
        diagnose::once(advice.into_iter())
    }
}

impl AsyncRestore for AsyncRedis {
    async fn restore(&self, claim: &Claim) -> Result<Granted<()>> {
        let keys = self.keys(claim)?;
        let call = self.0.dialect.acquire(claim, &keys, How::Restore)?;
        let (reply, resent) = self.call_heard(&call, false).await?;
        match script::attempt(claim, &reply, resent)? {
            Attempt::Granted(granted) => Ok(granted),
            Attempt::Denied(_) => Err(Error::lost(Cause::Superseded)),
        }
    }
}

impl AsyncInspect for AsyncRedis {
    async fn inspect(&self, name: &Name) -> Result<Option<Holder>> {
        let keys = Keys::checked(&key_of(&self.0.site, name))?;
        let (reply, _) = self.call(&self.0.dialect.look(&keys), false).await?;
        Ok(script::holders(name, &reply)?.pop())
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Holder>> {
        let mut scan = Scan::new(&self.0.site, prefix);
        for server in self.0.net.parts().await? {
            scan.begin();
            while let Some(step) = scan.step() {
                let reply = server.ask(&step).await?;
                scan.found(&reply)?;
            }
        }
        let mut holders = Vec::new();
        for name in scan.names() {
            let keys = Keys::new(&key_of(&self.0.site, &name));
            let (reply, _) = self.call(&self.0.dialect.look(&keys), false).await?;
            holders.extend(script::holders(&name, &reply)?);
        }
        Ok(holders)
    }

    async fn force_release(&self, name: &Name, breaking: Breaking, reason: &str) -> Result<Option<Holder>> {
        let key = key_of(&self.0.site, name);
        let (reply, _) =
            self.call(&self.0.dialect.force(&Keys::checked(&key)?, breaking, reason), false).await?;
        let seen = script::holders(name, &reply)?.pop();
        if let Some(seen) = &seen {
            self.0.site.force_released(seen, breaking, reason);
            self.0.site.notify(&key);
        }
        Ok(seen)
    }
}

impl SharedLocks for AsyncRedis {}

impl Permits for AsyncRedis {}

impl From<AsyncRedis> for aio::AnyBackend {
    fn from(store: AsyncRedis) -> Self {
        Self::erase(store).inspect().restore().shared().permits().build()
    }
}

impl fmt::Debug for AsyncRedis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncRedis").field("store", &self.0.site.label()).finish_non_exhaustive()
    }
}
