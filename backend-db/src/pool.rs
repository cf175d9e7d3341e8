//! Connections that threads share.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use diesel::result::QueryResult;
use r2d2::ManageConnection;
use tenure_core::{Error, Kind, Moment, Result};

use crate::failure::{self, Remedy};
use crate::hangup::{self, Line};
use crate::link::Link;

/// Makes connections to one database.
pub(crate) trait Open: Send + Sync + 'static {
    /// # Errors
    ///
    /// `Unavailable` if there is none to be had, `Misconfigured` if there never will be.
    fn open(&self) -> Result<Box<dyn Link + Send>>;

    /// Whether a connection is a socket, on which an answer may never come.
    fn is_remote(&self) -> bool;
}

/// A connection of a pool. One that failed is never used again: the answer to what was asked on it may
/// still be under way, and a client library may go on giving the error that it gave once.
pub(crate) struct Pooled {
    link: Box<dyn Link + Send>,
    failed: bool,
    made: Moment,
    line: Option<Arc<Line>>,
}

/// Wraps what makes connections, so that those which failed are discarded.
struct Guarded {
    open: Arc<dyn Open>,
    news: Arc<News>,
}

/// Why no connection could be made lately.
#[derive(Default)]
struct News(Mutex<Option<Failure>>);

#[derive(Clone)]
struct Failure {
    at: Moment,
    kind: Kind,
    message: Box<str>,
    source: Option<Box<str>>,
}

#[derive(Debug)]
struct NotOpened(String);

impl fmt::Display for NotOpened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NotOpened {}

impl ManageConnection for Guarded {
    type Connection = Pooled;
    type Error = NotOpened;

    fn connect(&self) -> std::result::Result<Pooled, NotOpened> {
        let made = Moment::now();
        let before = if self.open.is_remote() { hangup::sockets() } else { Vec::new() };
        match self.open.open() {
            Ok(mut link) => {
                self.news.set(None);
                let line = if self.open.is_remote() { Line::of_new(&before, || link.port()) } else { None };
                Ok(Pooled { link, failed: false, made, line })
            }
            Err(error) => {
                let message = error.to_string();
                let source = std::error::Error::source(&error).map(|source| source.to_string().into());
                let failure = Failure {
                    at: Moment::now(),
                    kind: error.kind(),
                    message: message.clone().into(),
                    source,
                };
                self.news.set(Some(failure));
                Err(NotOpened(message))
            }
        }
    }

    fn is_valid(&self, _: &mut Pooled) -> std::result::Result<(), NotOpened> {
        Ok(())
    }

    fn has_broken(&self, connection: &mut Pooled) -> bool {
        connection.failed
    }
}

impl Pooled {
    /// Asks, and hangs up some time after the server should have given up by itself.
    fn ask<T>(
        &mut self,
        limit: Duration,
        ask: impl FnOnce(&mut dyn Link) -> QueryResult<T>,
    ) -> QueryResult<T> {
        let _waits = self.line.as_ref().map(|line| line.waits(limit + limit / 4));
        ask(&mut *self.link)
    }
}

impl News {
    fn set(&self, failure: Option<Failure>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = failure;
    }

    /// An error if no connection could be made since a moment.
    fn since(&self, moment: Moment) -> Result<()> {
        let failure = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(failure) = failure.filter(|failure| failure.at >= moment) else { return Ok(()) };
        let error = Error::new(failure.kind, failure.message).settled();
        Err(match failure.source {
            Some(source) => error.with_source(&*source),
            None => error,
        })
    }
}

/// A pool of connections, for each process its own: a forked child shares the connections of its parent,
/// whose answers it must not take, and has none of the threads that make new ones.
pub(crate) struct Pool {
    open: Arc<dyn Open>,
    size: u32,
    connect_timeout: Duration,
    patience: Duration,
    here: Mutex<Here>,
}

/// The pool of one process.
struct Here {
    pid: u32,
    pool: r2d2::Pool<Guarded>,
    news: Arc<News>,
}

/// What was answered, and whether it was asked twice because a connection turned out to be dead.
pub(crate) struct Answered<T> {
    pub(crate) value: T,
    pub(crate) resent: bool,
}

/// How long the word of a connection that could not be made is believed.
const FRESH: Duration = Duration::from_millis(250);

/// How long a connection may take to be made before it is asked why.
const LOOK: Duration = Duration::from_millis(10);

/// The shortest and the longest pause of somebody who found others in the way. SQLite's own handler waits
/// for a tenth of a second after a while, and so lets those who come anew pass for seconds.
pub(crate) const PAUSE: (Duration, Duration) = (Duration::from_micros(100), Duration::from_millis(2));

impl Pool {
    /// A pool of up to `size` connections, made when they are needed. Nobody waits for one longer than
    /// `connect_timeout`, nor longer than `patience` for others to get out of the way.
    pub(crate) fn new(open: Arc<dyn Open>, size: u32, connect_timeout: Duration, patience: Duration) -> Self {
        let here = Mutex::new(Here::new(open.clone(), size, connect_timeout));
        Self { open, size, connect_timeout, patience, here }
    }

    /// Asks on a connection, and asks again while others are in the way or connections turn out to be
    /// dead. What is asked carries a token, and is the same if it is carried out twice.
    pub(crate) fn ask<T>(&self, mut ask: impl FnMut(&mut dyn Link) -> QueryResult<T>) -> Result<Answered<T>> {
        let (began, mut resent) = (Moment::now(), false);
        loop {
            let mut connection = self.get().map_err(|error| doubtful(error, resent))?;
            let old = connection.made < began;
            let failed = loop {
                match connection.ask(self.patience, &mut ask) {
                    Ok(value) => return Ok(Answered { value, resent }),
                    Err(error) if failure::remedy(&error) == Remedy::Repeat => {
                        if Moment::now().since(began) >= self.patience {
                            break error;
                        }
                        let (least, most) = PAUSE;
                        thread::sleep(rand::random_range(least..most));
                    }
                    Err(error) => break error,
                }
            };
            connection.failed = true;
            if connection.line.as_ref().is_some_and(|line| line.is_cut()) {
                return Err(Error::unavailable("the database did not answer in time").with_source(failed));
            }
            match failure::remedy(&failed) {
                // After a restart of the server every connection from before is dead; each is found out once.
                Remedy::Reconnect if old => resent = true,
                _ => return Err(doubtful(failure::error(&failed), resent)),
            }
        }
    }

    /// What this process has.
    fn here(&self) -> Result<(r2d2::Pool<Guarded>, Arc<News>)> {
        let mut here = self.here.lock().unwrap_or_else(PoisonError::into_inner);
        if here.pid != std::process::id() {
            if !self.open.is_remote() {
                // A child has a copy of what SQLite remembers of its parent's locks, and has not got the locks;
                // and what a thread of its parent was about stays locked in it for ever.
                return Err(Error::misconfigured(
                    "the store was opened before this process was forked, and SQLite cannot be used in both; open \
                     the store after forking",
                ));
            }
            let own = Here::new(self.open.clone(), self.size, self.connect_timeout);
            // To close them would say something on them.
            std::mem::forget(std::mem::replace(&mut *here, own));
        }
        Ok((here.pool.clone(), here.news.clone()))
    }

    fn get(&self) -> Result<r2d2::PooledConnection<Guarded>> {
        let (pool, news) = self.here()?;
        if let Some(idle) = pool.try_get() {
            return Ok(idle);
        }
        let began = Moment::now();
        // A server that refuses is an error at once; the pool itself would go on trying.
        news.since(began - FRESH)?;
        if let Ok(connection) = pool.get_timeout(LOOK) {
            return Ok(connection);
        }
        news.since(began - FRESH)?;
        pool.get_timeout(self.connect_timeout).or_else(|_| {
            news.since(began)?;
            let state = pool.state();
            Err(Error::unavailable(format!(
                "no connection within {:?}, {} of {} are in use; raise pool_size, or see whether the database answers",
                self.connect_timeout,
                state.connections - state.idle_connections,
                pool.max_size()
            ))
            .settled())
        })
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let here = self.here.get_mut().unwrap_or_else(PoisonError::into_inner);
        if here.pid != std::process::id() {
            // To close them would say something on them.
            std::mem::forget(here.pool.clone());
        }
    }
}

impl Here {
    fn new(open: Arc<dyn Open>, size: u32, patience: Duration) -> Self {
        let news = Arc::new(News::default());
        let guarded = Guarded { open, news: news.clone() };
        let pool = r2d2::Pool::builder()
            .max_size(size)
            .min_idle(Some(0))
            // A look whether the connection lives would cost as much as what it is for.
            .test_on_check_out(false)
            .connection_timeout(patience)
            .error_handler(Box::new(r2d2::NopErrorHandler))
            .build_unchecked(guarded);
        Self { pid: std::process::id(), pool, news }
    }
}

/// An error of a request that may have been carried out before.
pub(crate) fn doubtful(error: Error, resent: bool) -> Error {
    if !resent || !error.is_settled() || error.is_misconfigured() {
        return error;
    }
    Error::unavailable("the database closed the connection before it answered").with_source(error)
}

#[cfg(all(test, feature = "sqlite"))]
mod tests {
    use super::*;

    #[test]
    fn a_forked_child_is_told_to_open_a_file_by_itself() {
        let folder = tempfile::tempdir().unwrap();
        let limit = Duration::from_secs(5);
        let open = crate::link::sqlite::Sqlite::new(&folder.path().join("app.db"), limit);
        let pool = Pool::new(Arc::new(open), 2, limit, limit);
        let ask = || pool.ask(|link| link.run("SELECT 1")).map(|answered| answered.value);
        ask().unwrap();
        // As if this process were another than the one that opened it.
        let process = std::mem::replace(&mut pool.here.lock().unwrap().pid, 0);
        let error = ask().unwrap_err();
        assert!(error.is_misconfigured() && error.to_string().contains("forking"), "{error}");
        pool.here.lock().unwrap().pid = process;
        ask().unwrap();
    }
}
