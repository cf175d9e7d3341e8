//! Locks that belong to a connection: `pg_advisory_lock` and `GET_LOCK`.

#[cfg(feature = "async")]
mod aio;
mod config;
mod pinned;
mod queue;
mod says;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tenure_core::{
    AnyBackend, Attempt, Backend, Cause, Claim, Denied, Error, Fence, Granted, Lease, Mode, Moment, Owner,
    Release, Renewal, Resolved, Result, SessionLocks, Site, Watch,
};

#[cfg(feature = "async")]
pub use aio::AsyncSessions;
pub use config::SessionsBuilder;
pub use pinned::SessionGrant;

use crate::answer::Answer;
use crate::course::follow;
use crate::dialect::Kind;
use crate::failure::{self, Remedy};
use crate::hangup::{self, Line};
use crate::key::Key;
use crate::link::Link;
use crate::pool::{Open, Pool};
use crate::statement::Values;
use pinned::{Pinned, Session};
use says::Says;

/// Locks that belong to a connection to PostgreSQL, MariaDB or MySQL, and end with it.
///
/// Each lock that is held has a connection of its own, which holds a lock of the server (`pg_advisory_lock`,
/// `GET_LOCK`). The server sees the end of the holder's process at once, writes nothing to disk for a lock, and
/// keeps the queue of those who wait. After a release in good order the connection is used again; after
/// anything else it is closed.
///
/// A cheap handle; clones share everything.
///
/// # What it promises, and what not
///
/// It is *fence-only*: when the connection of a holder breaks, the server gives the lock to the next one at
/// once, and the holder learns of it when it next says something on the connection, which for a
/// [session](tenure_core::Lock::session) is every three [`recheck`](tenure_core::Settings::recheck). A lock
/// with a lifetime, which is the usual one, says something at each renewal. Locks in rows, [`Db`](crate::Db),
/// do not depend on connections.
///
/// * A **session** ends when it is released or its connection does. A host that is gone without a word holds
///   it until the server's TCP keep-alive gives up.
/// * With a **lifetime**, fixed or kept alive, the server closes the connection when it is idle for longer
///   (`idle_session_timeout`, PostgreSQL 14 and later; `wait_timeout`, in whole seconds, rounded up).
/// * Names are told apart by 64 bits of their SHA-256 in PostgreSQL, and by 192 in MariaDB and MySQL. Where it is
///   64, a table keeps the name of each number, and a name whose number is another's is refused as
///   `InvalidName`; [`hashed`](SessionsBuilder::hashed) does without: two such names then exclude each other.
///   In PostgreSQL, an application that uses advisory locks itself may meet a number.
/// * Fences come from a sequence, or a row where there are no sequences, that is moved up to the clock with
///   every new connection.
/// * Not for poolers that change servers between transactions, which is refused where it is seen; not
///   replicated, so a fail-over ends all locks; not for Galera.
/// * A lock cannot outlive its process, nor stay taken after its release.
///
/// ```no_run
/// use tenure_core::Lock;
/// use tenure_db::Sessions;
///
/// let sessions = Sessions::connect("postgres://localhost/app")?;
/// let held = Lock::new(&sessions, "global").session().acquire()?;
/// # Ok::<(), tenure_core::Error>(())
/// ```
#[derive(Clone)]
pub struct Sessions(Arc<Inner>);

struct Inner {
    site: Site,
    kind: Kind,
    says: Says,
    open: Arc<dyn Open>,
    /// What makes a connection one that does not wait any more.
    hurry: Box<str>,
    /// For what is said on no lock's connection.
    pool: Pool,
    hashed: bool,
    connect_timeout: Duration,
    io_timeout: Duration,
    idle: Mutex<Vec<Session>>,
    /// What this process holds, so that asking again with the same token gives the same grant.
    held: Mutex<HashMap<Owner, Weak<Pinned>>>,
    queue: queue::Queue,
}

/// A connection, and what can be hung up on.
type Opened = (Box<dyn Link + Send>, Option<Arc<Line>>);

/// How many connections are kept for later.
const IDLE: usize = 8;

impl Sessions {
    /// Opens the store at a server: `postgres://[user[:password]@]host[:port]/database` or
    /// `mysql://[user[:password]@]host[:port]/database`.
    ///
    /// # Errors
    ///
    /// As [`SessionsBuilder::connect`].
    pub fn connect(url: &str) -> Result<Self> {
        Self::builder(url).connect()
    }

    /// Opens a store with settings of its own.
    #[must_use]
    pub fn builder(url: &str) -> SessionsBuilder {
        SessionsBuilder::new(url)
    }

    fn key<'c>(&self, claim: &'c Claim) -> Result<Resolved<'c, Key>> {
        claim.resolved(|| {
            let key = Key::new(claim.key());
            let inner = &self.0;
            if !inner.hashed && !inner.says.known.is_empty() {
                let values = inner.values(&key);
                let answer = inner.pool.ask(|link| follow(link, &inner.says.known, &values))?.value;
                if answer.is_none_or(|answer| answer.code == Answer::COLLIDES) {
                    return Err(Error::invalid_name(
                        "another lock's name has the same number; choose another name, or open the store as one \
                         where such locks exclude each other",
                    ));
                }
            }
            Ok(Arc::new(key))
        })
    }

    /// Asks for a lock on a connection that was used before, or a new one if that turns out to be dead.
    fn ask(&self, claim: &Claim, key: &Key) -> Result<Option<Got>> {
        let inner = &self.0;
        let ttl = claim.term().ttl().map(tenure_core::Ttl::get);
        if let Some((mut session, fence)) = inner.queue.fetch(claim.key()) {
            let since = Moment::now();
            if session.live(inner, ttl).is_ok() && fence > claim.floor() {
                return Ok(Some(Got { session, fence, since }));
            }
            // To be closed: the server ends the lock.
        }
        let (mut old, mut patient) = (inner.idle().pop(), true);
        loop {
            // Who has just given up here may get it in the server's queue, and lets go of it.
            let leaving = inner.queue.about_to_leave(claim.key());
            let (was_old, mut session) = match old.take() {
                Some(session) => (true, session),
                None => (false, inner.dial()?),
            };
            let asked = session.ask(&inner.says.acquire, &inner.values(key)).and_then(|answer| {
                let fence = answer.map_or(0, |answer| answer.fence);
                let since = Moment::now();
                // What has a short life already may not live long enough to be asked.
                if fence > 0 {
                    session.live(inner, ttl)?;
                }
                Ok((fence, since))
            });
            match asked {
                Ok((fence @ 1.., since)) => {
                    let fence = inner.fence(&mut session, key, fence, claim.floor())?;
                    return Ok(Some(Got { session, fence, since }));
                }
                Ok(_) => {
                    inner.give_back(session);
                    if !std::mem::take(&mut patient) || !leaving.wait() {
                        return Ok(None);
                    }
                }
                // A dead connection holds nothing, whatever was done on it.
                Err(error) if was_old && failure::remedy(&error) == Remedy::Reconnect => {
                    inner.idle().clear();
                }
                Err(error) => return Err(failure::error(&error)),
            }
        }
    }
}

/// A connection that has got a lock.
struct Got {
    session: Session,
    fence: Fence,
    /// From when its lifetime counts.
    since: Moment,
}

impl Inner {
    /// A new connection, with fences at the clock.
    fn dial(&self) -> Result<Session> {
        let (link, line) = self.open_in_time()?;
        if !link.is_alone() {
            return Err(Error::misconfigured(
                "a pooler changes servers between transactions, and would leave locks behind there; name the \
                 server itself, or use locks in rows",
            ));
        }
        let mut session = Session::new(link, line, self.io_timeout);
        let values = Values::default();
        let caught_up = session
            .ask(&self.says.clock, &values)
            .and_then(|clock| session.run(&says::catch_up(self.kind, clock.map_or(0, |clock| clock.code))));
        caught_up.map_err(|error| failure::error(&error))?;
        Ok(session)
    }

    /// Opens a connection; not all client libraries have a time limit for that.
    fn open_in_time(&self) -> Result<Opened> {
        let (tell, told) = std::sync::mpsc::channel();
        let open = self.open.clone();
        let work = move || {
            let before = hangup::sockets();
            let opened = open.open().map(|mut link| {
                let line = Line::of_new(&before, || link.port());
                (link, line)
            });
            let _ = tell.send(opened);
        };
        let begun = std::thread::Builder::new().name("tenure-session-open".into()).spawn(work);
        begun.map_err(|source| {
            Error::unavailable("no thread to connect with").with_source(source).settled()
        })?;
        told.recv_timeout(self.connect_timeout).unwrap_or_else(|_| {
            Err(Error::unavailable("the server does not answer; see whether it runs").settled())
        })
    }

    /// The fence of a grant: the one that came with it, or one above what was seen.
    fn fence(&self, session: &mut Session, key: &Key, given: i64, floor: Fence) -> Result<Fence> {
        let below = i64::try_from(floor.get()).unwrap_or(i64::MAX - 1);
        let values = Values { floor: below, ..self.values(key) };
        let asked = match &self.says.fence {
            Some((raise, last)) => session.act(raise, &values).and_then(|_| session.ask(last, &values)),
            None if given > below => return Ok(Fence::new(given.unsigned_abs())),
            None if self.kind == Kind::MariaDb => session
                .run(&says::catch_up(self.kind, below + 1))
                .and_then(|()| session.ask(&self.says.raise, &values)),
            None => session.ask(&self.says.raise, &values),
        };
        let fence = asked.map_err(|error| failure::error(&error))?.map_or(0, |answer| answer.fence);
        Ok(Fence::new(fence.unsigned_abs()))
    }

    fn values(&self, key: &Key) -> Values {
        let values = Values::of(key);
        Values { name: values.whole.clone().unwrap_or(values.name), ..values }
    }

    fn give_back(&self, mut session: Session) {
        if session.outlive(self).is_err() {
            return;
        }
        let mut idle = self.idle();
        if idle.len() < IDLE && session.is_of_this_process() {
            idle.push(session);
        }
    }

    /// The connections that are kept; those of a parent are let be.
    fn idle(&self) -> MutexGuard<'_, Vec<Session>> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(Session::is_of_this_process);
        idle
    }

    fn held(&self) -> MutexGuard<'_, HashMap<Owner, Weak<Pinned>>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Backend for Sessions {
    type Grant = SessionGrant;
    type Handle = Self;

    fn handle(&self) -> Self {
        self.clone()
    }

    fn site(&self) -> &Site {
        &self.0.site
    }

    fn try_acquire(&self, claim: &Claim) -> Result<Attempt<SessionGrant>> {
        check(claim)?;
        let lease = claim.term().ttl().map_or(Lease::Session, |ttl| Lease::For(ttl.get()));
        let key = self.key(claim)?;
        let again = self.0.held().get(&claim.owner()).and_then(Weak::upgrade);
        let ttl = claim.term().ttl().map(tenure_core::Ttl::get);
        let mut since = Moment::now();
        let pinned = match again.filter(|pinned| pinned.is_held()) {
            Some(pinned) => {
                pinned.renew(&self.0, ttl.unwrap_or(Duration::MAX))?;
                pinned
            }
            None => match self.ask(claim, &key)? {
                Some(got) => {
                    since = got.since;
                    Arc::new(Pinned::new(got.session, Key::clone(&key), got.fence, ttl))
                }
                None => return Ok(Attempt::Denied(Denied::new())),
            },
        };
        let mut held = self.0.held();
        held.retain(|_, pinned| pinned.strong_count() > 0);
        held.insert(claim.owner(), Arc::downgrade(&pinned));
        let fence = pinned.fence;
        Ok(Attempt::Granted(Granted::new(SessionGrant(pinned), fence, lease).since(since)))
    }

    fn renew(&self, due: Renewal<'_, SessionGrant>) -> Result<()> {
        due.grant().0.renew(&self.0, due.ttl())
    }

    fn release(&self, end: Release<'_, SessionGrant>) -> Result<()> {
        if end.keep().is_some() {
            return Err(Error::misconfigured(
                "a lock that belongs to a connection cannot be kept after its release; leave hold_at_least out",
            ));
        }
        self.0.held().remove(&end.claim().owner());
        match end.grant().0.is_held() {
            true => end.grant().0.release(&self.0),
            false => Err(Error::lost(Cause::Superseded)),
        }
    }

    /// A grant whose answer got lost is closed with its connection; one that is there is released.
    fn abandon(&self, claim: &Claim) {
        let pinned = self.0.held().remove(&claim.owner()).and_then(|pinned| pinned.upgrade());
        if let Some(pinned) = pinned {
            let _ = pinned.release(&self.0);
        }
    }

    fn watch(&self, claim: &Claim) -> Result<Watch> {
        let key = self.key(claim)?;
        Ok(Watch::armed(queue::join(&self.0, Key::clone(&key), claim.key())?).in_turn())
    }
}

impl SessionLocks for Sessions {}

impl From<Sessions> for AnyBackend {
    fn from(sessions: Sessions) -> Self {
        Self::erase(sessions).sessions().build()
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions").field("store", &self.0.site.label()).finish_non_exhaustive()
    }
}

/// # Errors
///
/// `Misconfigured` for what a connection cannot be.
fn check(claim: &Claim) -> Result<()> {
    if claim.mode() != Mode::Exclusive {
        return Err(Error::misconfigured(
            "locks that belong to a connection are exclusive; use another store to share them",
        ));
    }
    if claim.is_detached() {
        return Err(Error::misconfigured(
            "a lock that belongs to a connection ends with its process; leave release_on_drop on, or use locks \
             in rows",
        ));
    }
    Ok(())
}
