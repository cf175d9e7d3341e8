//! The store for tasks: one connection to each server, which all of them share.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tenure_core::aio::{self, AsyncBackend, AsyncInspect, AsyncRestore, Task};
use tenure_core::{
    Advice, Attempt, Breaking, Cause, Claim, Error, Granted, Holder, Moment, Name, Release, Renewal,
    Resolved, Result, Site, Watch,
};
use tokio::runtime::Handle;
use tokio::sync::Notify;

use crate::backend::batches;
use crate::config::{Limits, Plan};
use crate::diagnose;
use crate::dialect::{Dialect, Now, Place, mark_of};
use crate::inspect::{key_of, keys, name_of, sort};
use crate::link::Link;
use crate::lookout::{Due, Lookout};
use crate::pool::doubtful;
use crate::stats;
use crate::talk::{Abandon, Acquire, End, Force, Grant, Heard, Look, Read, Renew, Talk, Turn};
use crate::wire::Request;

/// Locks in memcached, for asynchronous code.
///
/// A cheap handle; clones share one connection to each server, which is made anew when it fails. It works in
/// the tokio runtime that it was connected in; its futures can be polled by any executor as long as that
/// runtime runs.
#[derive(Clone)]
pub struct AsyncMemcached(Arc<Inner>);

struct Inner {
    site: Site,
    dialect: Arc<Dialect>,
    links: Arc<[Link]>,
    limits: Limits,
    runtime: Handle,
    lookout: Mutex<Option<Arc<Lookout>>>,
}

impl AsyncMemcached {
    /// Opens the store that a URL names, as [`Memcached::connect`](crate::Memcached::connect).
    ///
    /// # Errors
    ///
    /// As [`Builder::connect_async`](crate::Builder::connect_async).
    ///
    /// # Cancel safety
    ///
    /// Dropped half-way, it has opened nothing that stays open.
    pub async fn connect(url: &str) -> Result<Self> {
        crate::Memcached::builder(url).connect_async().await
    }

    pub(crate) async fn open(plan: Plan) -> Result<Self> {
        let runtime = Handle::try_current().map_err(|_| {
            Error::misconfigured("an asynchronous memcached store is connected from within a tokio runtime")
        })?;
        let plan = aside(&runtime, move || {
            plan.check_servers().map_err(|error| error.at(&plan.label))?;
            Ok(plan)
        });
        let Plan { label, settings, limits, dialect, .. } = plan.await?;
        let links = dialect.servers.iter().map(|server| Link::new(server, limits, &runtime)).collect();
        let (site, dialect, lookout) = (Site::new(label, settings), Arc::new(dialect), Mutex::default());
        Ok(Self(Arc::new(Inner { site, dialect, links, limits, runtime, lookout })))
    }

    /// Asks a question, and goes on until it is answered.
    async fn hold<T: Talk>(&self, talk: T) -> Result<T::End> {
        self.go_on(talk, Heard::Nothing, false).await
    }

    async fn go_on<T: Talk>(&self, mut talk: T, mut heard: Heard, mut spoke: bool) -> Result<T::End> {
        let server = talk.server();
        loop {
            heard = match talk.turn(heard, Now::read()) {
                Turn::End(end) => return end,
                Turn::Ask(request) => {
                    let said = self.0.links[server].exchange(request).await;
                    said.map_err(|error| doubtful(error, spoke))?.into()
                }
                Turn::Stats => {
                    let (dialect, limits) = (self.0.dialect.clone(), self.0.limits);
                    let stats =
                        aside(&self.0.runtime, move || stats::stats(&dialect.servers[server], "", limits));
                    Heard::Stats(stats.await.map_err(|error| doubtful(error, spoke))?)
                }
            };
            spoke = true;
        }
    }

    fn place<'c>(&self, claim: &'c Claim) -> Result<Resolved<'c, Place>> {
        claim.resolved(|| Ok(Arc::new(self.0.dialect.place(claim.key())?)))
    }

    /// What looks for the waiters of this store.
    fn lookout(&self) -> Arc<Lookout> {
        let mut slot = self.0.lookout.lock().unwrap_or_else(PoisonError::into_inner);
        let started = slot.get_or_insert_with(|| {
            let wake = Arc::new(Notify::new());
            let waking = wake.clone();
            let wakes = Box::new(move || waking.notify_one());
            let lookout = Lookout::new(self.0.site.clone(), self.0.dialect.clone(), wakes);
            self.0.runtime.spawn(look_until_closed(lookout.clone(), self.0.links.clone(), wake));
            lookout
        });
        started.clone()
    }
}

async fn look_until_closed(lookout: Arc<Lookout>, links: Arc<[Link]>, wake: Arc<Notify>) {
    loop {
        match lookout.due(Moment::now()) {
            Due::Closed => return,
            Due::Later(moment) => {
                // The clock that tasks sleep by stops while the machine is suspended.
                let wait = moment.since(Moment::now()).min(Duration::from_secs(1));
                let _ = tokio::time::timeout(wait, wake.notified()).await;
            }
            Due::Now(all) => {
                for looks in all {
                    let began = Moment::now();
                    let said = links[looks.server].exchange(looks.request.clone()).await.ok();
                    let now = Now::read();
                    lookout.seen(looks, said, now.moment.since(began), now);
                }
            }
        }
    }
}

/// Does what blocks in a thread that is there for that.
async fn aside<T: Send + 'static>(
    runtime: &Handle,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let done = runtime.spawn_blocking(work).await;
    done.map_err(|source| Error::unavailable("the tokio runtime of the store has ended").with_source(source))?
}

impl AsyncBackend for AsyncMemcached {
    type Grant = Grant;
    type Handle = Self;

    fn handle(&self) -> Self {
        self.clone()
    }

    fn site(&self) -> &Site {
        &self.0.site
    }

    async fn try_acquire(&self, claim: &Claim) -> Result<Attempt<Grant>> {
        let place = self.place(claim)?;
        self.hold(Acquire::new(&self.0.dialect, &place, claim, false)).await
    }

    async fn renew(&self, due: Renewal<'_, Grant>) -> Result<()> {
        let place = self.place(due.claim())?;
        self.hold(Renew::new(&self.0.dialect, &place, due)).await
    }

    async fn renew_many(&self, due: &[Renewal<'_, Grant>]) -> Vec<Result<()>> {
        let mut answers: Vec<_> = due.iter().map(|_| Ok(())).collect();
        let mut places = Vec::with_capacity(due.len());
        for due in due {
            match self.place(due.claim()) {
                Ok(place) => places.push(place),
                Err(error) => return due_to(&error, answers.len()),
            }
        }
        for (server, chosen) in batches(&places) {
            let now = Now::read();
            let mut talks: Vec<_> = chosen
                .iter()
                .map(|index| Renew::new(&self.0.dialect, &places[*index], due[*index]))
                .collect();
            let turns: Vec<_> = talks.iter_mut().map(|talk| talk.turn(Heard::Nothing, now)).collect();
            let request = turns.iter().fold(Request::default(), |all, turn| match turn {
                Turn::Ask(request) => all.and(request),
                _ => all,
            });
            let mut told = self.0.links[server].exchange(request).await;
            for ((index, talk), turn) in chosen.into_iter().zip(talks).zip(turns) {
                answers[index] = match (turn, &mut told) {
                    (Turn::End(end), _) => end,
                    (Turn::Stats, _) => self.hold(talk).await,
                    (Turn::Ask(_), Err(error)) => Err(crate::backend::again(error)),
                    (Turn::Ask(request), Ok(told)) => {
                        self.go_on(talk, told.share(request.answers()).into(), true).await
                    }
                };
            }
        }
        answers
    }

    async fn release(&self, end: Release<'_, Grant>) -> Result<()> {
        let place = self.place(end.claim())?;
        self.hold(End::new(&self.0.dialect, &place, end)).await
    }

    fn spawn(&self, task: Task) {
        self.0.runtime.spawn(task);
    }

    async fn abandon(&self, claim: &Claim) {
        if let Ok(place) = self.place(claim) {
            let undo = || self.hold(Abandon::new(&self.0.dialect, &place, claim.owner()));
            if undo().await.is_ok_and(|found| !found) {
                tokio::time::sleep(Abandon::AGAIN).await;
                let _ = undo().await;
            }
        }
    }

    async fn watch(&self, claim: &Claim) -> Result<Watch> {
        let place = self.place(claim)?;
        Ok(Watch::armed(self.lookout().register(claim.key(), &place)))
    }

    async fn is_awaited(&self, claim: &Claim) -> bool {
        let Ok(place) = self.place(claim) else { return false };
        let mark = self.hold(Read::new(place.server, &mark_of(&place))).await;
        // Without an answer, one merely waits less fairly.
        mark.is_ok_and(|mark| self.0.dialect.is_awaited(mark.as_ref()))
    }

    async fn diagnose(&self) -> Vec<Advice> {
        let (dialect, limits, settings) =
            (self.0.dialect.clone(), self.0.limits, self.0.site.settings().clone());
        let told = aside(&self.0.runtime, move || Ok(diagnose::all(&dialect, &settings, limits)));
        told.await.unwrap_or_default()
    }
}

/// The same error for all.
fn due_to(error: &Error, count: usize) -> Vec<Result<()>> {
    (0..count).map(|_| Err(crate::backend::again(error))).collect()
}

impl AsyncRestore for AsyncMemcached {
    async fn restore(&self, claim: &Claim) -> Result<Granted<Grant>> {
        let place = self.place(claim)?;
        match self.hold(Acquire::new(&self.0.dialect, &place, claim, true)).await? {
            Attempt::Granted(granted) => Ok(granted),
            Attempt::Denied(_) => Err(Error::lost(Cause::Superseded)),
        }
    }
}

impl AsyncInspect for AsyncMemcached {
    async fn inspect(&self, name: &Name) -> Result<Option<Holder>> {
        let place = self.0.dialect.place(&key_of(&self.0.site, name))?;
        self.hold(Look::new(&self.0.dialect, &place, name)).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Holder>> {
        let mut names = Vec::new();
        for server in 0..self.0.links.len() {
            let (dialect, limits) = (self.0.dialect.clone(), self.0.limits);
            for key in aside(&self.0.runtime, move || keys(&dialect.servers[server], limits)).await? {
                let shortened = key.contains('~');
                let item = if shortened { self.hold(Read::new(server, &key)).await? } else { None };
                names.extend(name_of(&self.0.dialect, &self.0.site, &key, prefix, || Ok(item))?);
            }
        }
        sort(&mut names);
        let mut holders = Vec::new();
        for name in names {
            holders.extend(self.inspect(&name).await?);
        }
        Ok(holders)
    }

    async fn force_release(&self, name: &Name, breaking: Breaking, reason: &str) -> Result<Option<Holder>> {
        let key = key_of(&self.0.site, name);
        let place = self.0.dialect.place(&key)?;
        let seen = self.hold(Force::new(&self.0.dialect, &place, name, breaking, reason)).await?;
        if let Some(seen) = &seen {
            self.0.site.force_released(seen, breaking, reason);
            self.0.site.notify(&key);
        }
        Ok(seen)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let slot = self.lookout.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(lookout) = slot.take() {
            lookout.close();
        }
    }
}

impl From<AsyncMemcached> for aio::AnyBackend {
    fn from(store: AsyncMemcached) -> Self {
        Self::erase(store).inspect().restore().build()
    }
}

impl fmt::Debug for AsyncMemcached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncMemcached").field("store", &self.0.site.label()).finish_non_exhaustive()
    }
}
