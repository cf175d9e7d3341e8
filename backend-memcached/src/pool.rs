//! Connections that threads share.

use std::io::Write;
use std::net::TcpStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use memcache::exp::{Error as WireError, MetaConnection};
use r2d2::ManageConnection;
use tenure_core::{Error, Moment, Result};

use crate::config::Limits;
use crate::stats;
use crate::wire::{Answer, Answers, Request, Said};

/// A connection of a pool. One that failed is never used again: the answer to what was asked on it may
/// still be under way, and would be taken for that of the next one.
pub(crate) struct Pooled {
    /// What the crate has no word for is written past it.
    writer: TcpStream,
    reader: MetaConnection,
    limits: Limits,
    failed: bool,
    made: Moment,
}

/// A connection failed.
pub(crate) struct Broken {
    source: WireError,
    /// Whether the other side closed it, as one that was restarted has; not that it is silent.
    closed: bool,
}

/// Makes connections to one server.
struct Dialer {
    address: Box<str>,
    limits: Limits,
    news: Arc<News>,
}

/// Why no connection could be made lately.
#[derive(Default)]
struct News(Mutex<Option<(Moment, String)>>);

#[derive(Debug)]
struct DialError(String);

impl std::fmt::Display for DialError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for DialError {}

impl ManageConnection for Dialer {
    type Connection = Pooled;
    type Error = DialError;

    fn connect(&self) -> std::result::Result<Pooled, DialError> {
        let dialed = stats::connect(&self.address, self.limits).and_then(|writer| {
            let reader = MetaConnection::from_stream(writer.try_clone()?);
            Ok(Pooled { writer, reader, limits: self.limits, failed: false, made: Moment::now() })
        });
        self.news.set(dialed.as_ref().err().map(ToString::to_string));
        dialed.map_err(|error| DialError(error.to_string()))
    }

    fn is_valid(&self, _: &mut Pooled) -> std::result::Result<(), DialError> {
        Ok(())
    }

    fn has_broken(&self, connection: &mut Pooled) -> bool {
        connection.failed
    }
}

impl News {
    fn set(&self, failure: Option<String>) {
        let failure = failure.map(|message| (Moment::now(), message));
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = failure;
    }

    /// An error if no connection could be made since a moment.
    fn since(&self, moment: Moment) -> Result<()> {
        match &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Some((at, message)) if *at >= moment => Err(no_connection(message)),
            _ => Ok(()),
        }
    }
}

/// A pool of connections to one server, for each process its own: a forked child shares the connections of
/// its parent, whose answers it must not take, and has none of the threads that make new ones.
pub(crate) struct Pool {
    address: Box<str>,
    size: u32,
    limits: Limits,
    here: Mutex<Here>,
}

/// The pool of one process.
struct Here {
    pid: u32,
    pool: r2d2::Pool<Dialer>,
    news: Arc<News>,
}

/// How long the word of a connection that could not be made is believed.
const FRESH: Duration = Duration::from_millis(250);

/// How long a connection may take to be made before it is asked why.
const LOOK: Duration = Duration::from_millis(10);

impl Pool {
    /// A pool of up to `size` connections, made when they are needed.
    pub(crate) fn new(address: &str, size: u32, limits: Limits) -> Self {
        let here = Mutex::new(Here::new(address, size, limits));
        Self { address: address.into(), size, limits, here }
    }

    /// Sends a request, and waits for its answers.
    pub(crate) fn exchange(&self, request: &Request) -> Result<Said> {
        let (began, mut resent) = (Moment::now(), false);
        // After a restart of the server every connection from before is dead; each is found out once.
        loop {
            let mut connection = self.get().map_err(|error| doubtful(error, resent))?;
            if !request.fits(connection.made) {
                return Ok(Said::Stale { resent });
            }
            let old = connection.made < began;
            match connection.exchange(request) {
                Ok(answers) => return Ok(Said::Answered(Answers { resent, ..answers })),
                Err(broken) if broken.closed && old => resent = true,
                Err(broken) => return Err(unanswered(broken.source, broken.closed)),
            }
        }
    }

    /// What this process has.
    fn here(&self) -> (r2d2::Pool<Dialer>, Arc<News>) {
        let mut here = self.here.lock().unwrap_or_else(PoisonError::into_inner);
        if here.pid != std::process::id() {
            let own = Here::new(&self.address, self.size, self.limits);
            // To close them might say something on them.
            std::mem::forget(std::mem::replace(&mut *here, own));
        }
        (here.pool.clone(), here.news.clone())
    }

    fn get(&self) -> Result<r2d2::PooledConnection<Dialer>> {
        let (pool, news) = self.here();
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
        let patience = self.limits.connect;
        pool.get_timeout(patience).or_else(|_| {
            news.since(began)?;
            let state = pool.state();
            Err(Error::unavailable(format!(
                "no connection within {patience:?}, {} of {} are in use; raise pool_size, or see whether the \
                 server answers",
                state.connections - state.idle_connections,
                pool.max_size()
            ))
            .settled())
        })
    }
}

impl Here {
    fn new(address: &str, size: u32, limits: Limits) -> Self {
        let news = Arc::new(News::default());
        let dialer = Dialer { address: address.into(), limits, news: news.clone() };
        let pool = r2d2::Pool::builder()
            .max_size(size)
            .min_idle(Some(0))
            // A look whether the connection lives would cost as much as what it is for.
            .test_on_check_out(false)
            .connection_timeout(limits.connect)
            .error_handler(Box::new(r2d2::NopErrorHandler))
            .build_unchecked(dialer);
        Self { pid: std::process::id(), pool, news }
    }
}

impl Pooled {
    fn exchange(&mut self, request: &Request) -> std::result::Result<Answers, Broken> {
        let answers = self.try_exchange(request);
        answers.map_err(|source| {
            self.failed = true;
            Broken { closed: is_closed(&source), source }
        })
    }

    fn try_exchange(&mut self, request: &Request) -> memcache::exp::Result<Answers> {
        let deadline = Instant::now() + self.limits.io;
        let mut answers = Answers::new(Moment::now());
        self.writer.set_write_timeout(Some(self.limits.io))?;
        self.writer.write_all(request.bytes())?;
        while answers.replies.len() < request.answers() {
            let left = deadline.saturating_duration_since(Instant::now());
            self.reader.set_io_timeout(Some(left.max(Duration::from_micros(1))));
            answers.replies.push(self.reader.receive().and_then(Answer::read)?);
        }
        Ok(answers)
    }
}

pub(crate) fn is_closed(error: &WireError) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof, WriteZero};

    match error {
        WireError::Io(error) => {
            matches!(
                error.kind(),
                BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof | WriteZero
            )
        }
        _ => false,
    }
}

/// Why there is no connection.
pub(crate) fn no_connection(said: &str) -> Error {
    let refused = "no connection to the server; see whether it runs, and whether the URL names it";
    Error::unavailable(refused).with_source(said).settled()
}

/// An error of a request that may have been carried out before.
pub(crate) fn doubtful(error: Error, resent: bool) -> Error {
    if !resent || !error.is_settled() || error.is_misconfigured() {
        return error;
    }
    Error::unavailable("the server closed the connection before it answered").with_source(error)
}

/// A request of which nobody knows whether it was carried out.
pub(crate) fn unanswered(source: WireError, closed: bool) -> Error {
    let message = match &source {
        _ if closed => "the server closed the connection before it answered",
        WireError::Io(_) => "the server did not answer in time",
        _ => "the server gave an answer that is none; locks need memcached 1.6.18 or later, without a proxy",
    };
    Error::unavailable(message).with_source(source)
}
