//! A connection that is a lock.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use diesel::result::QueryResult;
use tenure_core::{Cause, Error, Fence, Moment, Result};

use super::Inner;
use super::says;
use crate::failure::{self, Remedy};
use crate::hangup::Line;
use crate::key::Key;
use crate::link::Link;
use crate::statement::{Statement, Text, Values};

/// A connection to a server that nobody else uses.
pub(super) struct Session {
    link: Option<Box<dyn Link + Send>>,
    process: u32,
    /// For how long the server lets it be idle, in milliseconds; zero for ever.
    idle: i64,
    /// What is hung up on if there is no answer for so long.
    line: Option<Arc<Line>>,
    limit: Duration,
}

impl Session {
    pub(super) fn new(link: Box<dyn Link + Send>, line: Option<Arc<Line>>, limit: Duration) -> Self {
        let limit = limit + limit / 4;
        Self { link: Some(link), process: std::process::id(), idle: 0, line, limit }
    }

    /// The answer to a statement; nothing if it has no row.
    pub(super) fn ask(&mut self, text: &Text, values: &Values) -> QueryResult<Option<crate::answer::Answer>> {
        let line = self.line.clone();
        let _waits = line.as_ref().map(|line| line.waits(self.limit));
        self.ask_patiently(text, values)
    }

    /// The same, however long it takes.
    pub(super) fn ask_patiently(
        &mut self,
        text: &Text,
        values: &Values,
    ) -> QueryResult<Option<crate::answer::Answer>> {
        let rows = self.link()?.ask(Statement::new(text, values))?;
        Ok(rows.into_iter().next())
    }

    pub(super) fn act(&mut self, text: &Text, values: &Values) -> QueryResult<usize> {
        let line = self.line.clone();
        let _waits = line.as_ref().map(|line| line.waits(self.limit));
        self.link()?.act(Statement::new(text, values))
    }

    pub(super) fn run(&mut self, statement: &str) -> QueryResult<()> {
        let line = self.line.clone();
        let _waits = line.as_ref().map(|line| line.waits(self.limit));
        self.link()?.run(statement)
    }

    /// Sets for how long the server lets it be idle from now on.
    pub(super) fn live(&mut self, inner: &Inner, ttl: Option<Duration>) -> QueryResult<()> {
        let idle = ttl.map_or(0, |ttl| i64::try_from(ttl.as_micros().div_ceil(1000)).unwrap_or(0));
        // Who says how long anew is no longer idle.
        if idle != self.idle {
            self.run(&says::live(inner.kind, idle))?;
            self.idle = idle;
        }
        Ok(())
    }

    /// Sets the server's patience back if it is so short that the connection could not be used again.
    pub(super) fn outlive(&mut self, inner: &Inner) -> QueryResult<()> {
        if (1..SHORT).contains(&self.idle) { self.live(inner, None) } else { Ok(()) }
    }

    fn link(&mut self) -> QueryResult<&mut (dyn Link + Send)> {
        // A forked child would speak on the connection of its parent.
        match &mut self.link {
            Some(link) if self.process == std::process::id() => Ok(&mut **link),
            _ => Err(diesel::result::Error::AlreadyInTransaction),
        }
    }

    pub(super) fn is_of_this_process(&self) -> bool {
        self.process == std::process::id()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if !self.is_of_this_process() {
            // To close it would end the parent's session.
            std::mem::forget(self.link.take());
        }
    }
}

/// In milliseconds.
const SHORT: i64 = 10_000;

/// A lock that is held, and the connection that holds it.
pub(super) struct Pinned {
    session: Mutex<Option<Session>>,
    pub(super) key: Key,
    pub(super) fence: Fence,
    /// When the server ends it at the latest; nothing for a session.
    ends: Mutex<Option<Moment>>,
}

/// A grant of [`Sessions`](crate::Sessions): the connection that has the lock. If all its clones are
/// dropped without a release, the connection is closed, and the server ends the lock.
#[derive(Clone)]
pub struct SessionGrant(pub(super) Arc<Pinned>);

impl Pinned {
    /// A lock that was just granted on a connection, for so long.
    pub(super) fn new(session: Session, key: Key, fence: Fence, ttl: Option<Duration>) -> Self {
        let ends = Mutex::new(ttl.map(|ttl| Moment::now() + ttl));
        Self { session: Mutex::new(Some(session)), key, fence, ends }
    }

    /// Says that it is still wanted, for so long; or asks whether it is there, which gives it no more time.
    pub(super) fn renew(&self, inner: &Inner, ttl: Duration) -> Result<()> {
        self.say(|session| {
            let mut ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
            let now = Moment::now();
            // Whatever is said sets the server's clock for this connection back.
            let left = match ttl {
                Duration::MAX => ends.map(|ends| ends.since(now)),
                ttl => Some(ttl),
            };
            // The server may take longer than it was told to.
            if ends.is_some_and(|ends| ends <= now) {
                return Ok(false);
            }
            if left.is_some() {
                session.live(inner, left)?;
            }
            *ends = match ttl {
                Duration::MAX => *ends,
                ttl => Some(Moment::now() + ttl),
            };
            drop(ends);
            let answer = session.ask(&inner.says.verify, &inner.values(&self.key))?;
            Ok(answer.is_some_and(|answer| answer.code == 1))
        })
    }

    /// Ends the lock, and gives the connection back if it did so in good order.
    pub(super) fn release(&self, inner: &Inner) -> Result<()> {
        let released = self.say(|session| {
            let answer = session.ask(&inner.says.release, &inner.values(&self.key))?;
            Ok(answer.is_some_and(|answer| answer.code == 1))
        });
        let session = self.session().take();
        if let (Ok(()), Some(session)) = (&released, session) {
            inner.give_back(session);
        }
        released
    }

    pub(super) fn is_held(&self) -> bool {
        self.session().is_some()
    }

    /// Says something on the connection, which is closed if that fails.
    fn say(&self, say: impl FnOnce(&mut Session) -> QueryResult<bool>) -> Result<()> {
        let mut slot = self.session();
        let Some(session) = slot.as_mut() else { return Err(self.lost()) };
        match say(session) {
            Ok(true) => Ok(()),
            Ok(false) => {
                *slot = None;
                Err(self.lost())
            }
            Err(error) => {
                *slot = None;
                match failure::remedy(&error) {
                    // The lock has ended with the connection.
                    Remedy::Reconnect => Err(self.lost().with_source(error.to_string())),
                    _ => Err(failure::error(&error)),
                }
            }
        }
    }

    fn lost(&self) -> Error {
        let ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        Error::lost(if ends.is_some() { Cause::Expired } else { Cause::Superseded })
    }

    fn session(&self) -> MutexGuard<'_, Option<Session>> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for SessionGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionGrant").field("fence", &self.0.fence).finish_non_exhaustive()
    }
}
