//! The store for threads.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use tenure_core::{
    Advice, AnyBackend, Attempt, Backend, Cause, Claim, Error, Granted, Moment, Release, Renewal, Resolved,
    Restore, Result, Site, Watch,
};

use crate::config::{Builder, Limits, Plan};
use crate::diagnose;
use crate::dialect::{Dialect, Now, Place, mark_of};
use crate::lookout::{Due, Lookout};
use crate::pool::{Pool, doubtful};
use crate::stats;
use crate::talk::{Abandon, Acquire, End, Grant, Heard, Read, Renew, Talk, Turn};
use crate::wire::Request;

/// Locks in memcached.
///
/// A cheap handle; clones share connections and everything else. See the [crate] for what it
/// promises.
#[derive(Clone)]
pub struct Memcached(Arc<Inner>);

struct Inner {
    site: Site,
    dialect: Arc<Dialect>,
    servers: Arc<Servers>,
    lookout: Mutex<Option<Local>>,
}

/// The connections to all servers.
struct Servers {
    pools: Box<[Pool]>,
    limits: Limits,
}

/// The lookout of one process; a forked child starts its own.
struct Local {
    pid: u32,
    lookout: Arc<Lookout>,
}

impl Memcached {
    /// Opens the store that a URL names:
    /// `memcache://host[:port][,host[:port]..][?profile=..&placement=..&quarantine=off]`.
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

    pub(crate) fn new(plan: Plan) -> Self {
        let Plan { label, settings, limits, pool_size, dialect } = plan;
        let pools = dialect.servers.iter().map(|server| Pool::new(server, pool_size, limits)).collect();
        Self(Arc::new(Inner {
            site: Site::new(label, settings),
            dialect: Arc::new(dialect),
            servers: Arc::new(Servers { pools, limits }),
            lookout: Mutex::default(),
        }))
    }

    pub(crate) fn dialect(&self) -> &Dialect {
        &self.0.dialect
    }

    pub(crate) fn limits(&self) -> Limits {
        self.0.servers.limits
    }

    /// Asks a question, and goes on until it is answered.
    pub(crate) fn hold<T: Talk>(&self, talk: T) -> Result<T::End> {
        self.go_on(talk, Heard::Nothing, false)
    }

    fn go_on<T: Talk>(&self, mut talk: T, mut heard: Heard, mut spoke: bool) -> Result<T::End> {
        let server = talk.server();
        loop {
            heard = match talk.turn(heard, Now::read()) {
                Turn::End(end) => return end,
                Turn::Ask(request) => {
                    let said = self.0.servers.pools[server].exchange(&request);
                    said.map_err(|error| doubtful(error, spoke))?.into()
                }
                Turn::Stats => {
                    let stats = stats::stats(&self.0.dialect.servers[server], "", self.limits());
                    Heard::Stats(stats.map_err(|error| doubtful(error, spoke))?)
                }
            };
            spoke = true;
        }
    }

    /// Sends the first requests of questions to one server in one go, then goes on with each.
    fn hold_together<T: Talk>(&self, server: usize, mut talks: Vec<T>) -> Vec<Result<T::End>> {
        let now = Now::read();
        let turns: Vec<_> = talks.iter_mut().map(|talk| talk.turn(Heard::Nothing, now)).collect();
        let asked = |turn: &Turn<T::End>| match turn {
            Turn::Ask(request) => Some(request.clone()),
            _ => None,
        };
        let request = turns.iter().filter_map(asked).fold(Request::default(), |all, next| all.and(&next));
        let mut said = self.0.servers.pools[server].exchange(&request);
        let each = talks.into_iter().zip(turns).map(|(talk, turn)| match turn {
            Turn::End(end) => end,
            Turn::Stats => self.hold(talk),
            Turn::Ask(request) => match &mut said {
                Ok(said) => self.go_on(talk, said.share(request.answers()).into(), true),
                Err(error) => Err(again(error)),
            },
        });
        each.collect()
    }

    fn place<'c>(&self, claim: &'c Claim) -> Result<Resolved<'c, Place>> {
        claim.resolved(|| Ok(Arc::new(self.0.dialect.place(claim.key())?)))
    }

    /// What looks for this process's waiters.
    fn lookout(&self) -> Result<Arc<Lookout>> {
        let mut slot = self.0.lookout.lock().unwrap_or_else(PoisonError::into_inner);
        let pid = std::process::id();
        if let Some(local) = slot.as_ref().filter(|local| local.pid == pid) {
            return Ok(local.lookout.clone());
        }
        let lookout = watch_over(self.0.site.clone(), self.0.dialect.clone(), self.0.servers.clone())?;
        // A forked child's copy of its parent's has no thread.
        std::mem::forget(slot.replace(Local { pid, lookout: lookout.clone() }));
        Ok(lookout)
    }
}

/// Starts the thread that looks for waiters.
fn watch_over(site: Site, dialect: Arc<Dialect>, servers: Arc<Servers>) -> Result<Arc<Lookout>> {
    let (tell, told) = std::sync::mpsc::sync_channel::<Arc<Lookout>>(1);
    let run = move || {
        if let Ok(lookout) = told.recv() {
            look_until_closed(&lookout, &servers);
        }
    };
    let looking = thread::Builder::new().name("tenure-memcached-watch".into()).spawn(run);
    let looking = looking.map_err(|source| {
        Error::unavailable("there is no thread to look for waiters with").with_source(source).settled()
    })?;
    let thread = looking.thread().clone();
    let lookout = Lookout::new(site, dialect, Box::new(move || thread.unpark()));
    // It waits for that.
    let _ = tell.send(lookout.clone());
    Ok(lookout)
}

fn look_until_closed(lookout: &Lookout, servers: &Servers) {
    loop {
        match lookout.due(Moment::now()) {
            Due::Closed => return,
            Due::Later(moment) => {
                // The clock that threads sleep by stops while the machine is suspended.
                let wait = moment.since(Moment::now()).min(Duration::from_secs(1));
                thread::park_timeout(wait);
            }
            Due::Now(all) => {
                for looks in all {
                    let began = Moment::now();
                    let said = servers.pools[looks.server].exchange(&looks.request);
                    let now = Now::read();
                    lookout.seen(looks, said.ok(), now.moment.since(began), now);
                }
            }
        }
    }
}

/// The same error once more.
pub(crate) fn again(error: &Error) -> Error {
    let same = Error::unavailable(error.to_string());
    if error.is_settled() { same.settled() } else { same }
}

impl Backend for Memcached {
    type Grant = Grant;
    type Handle = Self;

    fn handle(&self) -> Self {
        self.clone()
    }

    fn site(&self) -> &Site {
        &self.0.site
    }

    fn try_acquire(&self, claim: &Claim) -> Result<Attempt<Grant>> {
        let place = self.place(claim)?;
        self.hold(Acquire::new(&self.0.dialect, &place, claim, false))
    }

    fn renew(&self, due: Renewal<'_, Grant>) -> Result<()> {
        let place = self.place(due.claim())?;
        self.hold(Renew::new(&self.0.dialect, &place, due))
    }

    fn renew_many(&self, due: &[Renewal<'_, Grant>]) -> Vec<Result<()>> {
        let places: Result<Vec<_>> = due.iter().map(|due| self.place(due.claim())).collect();
        let Ok(places) = places else { return due.iter().map(|due| self.renew(*due)).collect() };
        let mut answers: Vec<_> = due.iter().map(|_| Ok(())).collect();
        for (server, chosen) in batches(&places) {
            let talks = chosen.iter().map(|index| Renew::new(&self.0.dialect, &places[*index], due[*index]));
            let told = self.hold_together(server, talks.collect());
            for (index, answer) in chosen.into_iter().zip(told) {
                answers[index] = answer;
            }
        }
        answers
    }

    fn release(&self, end: Release<'_, Grant>) -> Result<()> {
        let place = self.place(end.claim())?;
        self.hold(End::new(&self.0.dialect, &place, end))
    }

    fn abandon(&self, claim: &Claim) {
        if let Ok(place) = self.place(claim) {
            let undo = || self.hold(Abandon::new(&self.0.dialect, &place, claim.owner()));
            if undo().is_ok_and(|found| !found) {
                thread::sleep(Abandon::AGAIN);
                let _ = undo();
            }
        }
    }

    fn watch(&self, claim: &Claim) -> Result<Watch> {
        let place = self.place(claim)?;
        Ok(Watch::armed(self.lookout()?.register(claim.key(), &place)))
    }

    fn is_awaited(&self, claim: &Claim) -> bool {
        let Ok(place) = self.place(claim) else { return false };
        let mark = self.hold(Read::new(place.server, &mark_of(&place)));
        // Without an answer, one merely waits less fairly.
        mark.is_ok_and(|mark| self.0.dialect.is_awaited(mark.as_ref()))
    }

    fn diagnose(&self) -> Vec<Advice> {
        diagnose::all(&self.0.dialect, self.0.site.settings(), self.limits())
    }
}

/// How many renewals go out in one go: what the server answers meanwhile must find room.
const TOGETHER: usize = 128;

/// Which of these go to one server together.
pub(crate) fn batches<P: std::ops::Deref<Target = Place>>(places: &[P]) -> Vec<(usize, Vec<usize>)> {
    let mut batches: Vec<(usize, Vec<usize>)> = Vec::new();
    for (index, place) in places.iter().enumerate() {
        let open =
            batches.iter_mut().find(|(server, chosen)| *server == place.server && chosen.len() < TOGETHER);
        match open {
            Some((_, chosen)) => chosen.push(index),
            None => batches.push((place.server, vec![index])),
        }
    }
    batches
}

impl Restore for Memcached {
    fn restore(&self, claim: &Claim) -> Result<Granted<Grant>> {
        let place = self.place(claim)?;
        match self.hold(Acquire::new(&self.0.dialect, &place, claim, true))? {
            Attempt::Granted(granted) => Ok(granted),
            Attempt::Denied(_) => Err(Error::lost(Cause::Superseded)),
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let slot = self.lookout.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(local) = slot.take() {
            match local.pid == std::process::id() {
                true => local.lookout.close(),
                false => std::mem::forget(local),
            }
        }
    }
}

impl From<Memcached> for AnyBackend {
    fn from(store: Memcached) -> Self {
        Self::erase(store).inspect().restore().build()
    }
}

impl fmt::Debug for Memcached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memcached").field("store", &self.0.site.label()).finish_non_exhaustive()
    }
}
