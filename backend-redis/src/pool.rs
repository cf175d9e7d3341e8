//! Connections that threads share.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use r2d2::ManageConnection;
use tenure_core::{Error, Moment, Result};

use crate::acks::{self, Acks};
use crate::resp::{Commands, Packed, Reply};
use crate::script;

/// Something that takes commands and gives as many answers.
pub(crate) trait Wire: Send + 'static {
    /// # Errors
    ///
    /// The connection is of no use afterwards: an answer may still come on it.
    fn exchange(&mut self, packed: &Packed) -> std::result::Result<Vec<Reply>, Broken>;

    /// Whether it still leads to the server that requests are for.
    fn serves(&self) -> bool {
        true
    }
}

/// A connection failed.
#[derive(Debug)]
pub(crate) struct Broken {
    pub(crate) source: Box<dyn std::error::Error + Send + Sync>,
    /// Whether the other side closed it, as one that was restarted has; not that it is silent.
    pub(crate) closed: bool,
}

/// The answers to a request.
pub(crate) struct Answers {
    pub(crate) replies: Vec<Reply>,
    /// Whether it was sent twice, because a connection that had been idle turned out to be dead.
    pub(crate) resent: bool,
}

/// Threads speak to the server through this.
pub(crate) trait Transport: Send + Sync {
    /// Sends commands in one go, and waits for their answers. `track` is the client that the server is
    /// to tell when a key changes that the last command read.
    fn exchange(&self, packed: &Packed, track: Option<Tracker>) -> Result<Answers>;

    /// Sends requests of one answer each in as few goes as there are servers. Answers in the same order.
    fn exchange_each(&self, all: &[Packed], acks: Option<Acks>) -> Vec<Result<Reply>> {
        let question = acks.map(Acks::command);
        let together = all.iter().chain(&question).fold(Packed::default(), Packed::followed_by);
        match self.exchange(&together, None) {
            Ok(answers) => acks::judged(answers.replies, acks).into_iter().map(Ok).collect(),
            Err(error) => all.iter().map(|_| Err(script::unanswered(&error))).collect(),
        }
    }

    /// The servers that hold a part of the keys each; none if this is the only one.
    fn parts(&self) -> Result<Vec<Arc<dyn Transport>>> {
        Ok(Vec::new())
    }
}

/// An error of a request that may have been carried out before.
pub(crate) fn doubtful(error: Error, resent: bool) -> Error {
    if !resent || !error.is_settled() || error.is_misconfigured() {
        return error;
    }
    Error::unavailable("the server closed the connection before it answered").with_source(error)
}

/// The connection that hears of changed keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tracker {
    /// The number of the server that it is connected to.
    pub(crate) server: u64,
    /// The id that the server gave it.
    pub(crate) client: i64,
}

/// A connection of a pool. One that failed is never used again: the answer to what was asked on it may
/// still be under way, and would be taken for that of the next one.
pub(crate) struct Pooled<W> {
    wire: W,
    failed: bool,
    made: Moment,
    tracker: Option<Tracker>,
}

/// Wraps a manager of connections so that those which failed are discarded.
pub(crate) struct Guarded<M> {
    manager: Arc<M>,
    news: Arc<News>,
}

/// Why no connection could be made lately.
#[derive(Default)]
struct News(Mutex<Option<Failure>>);

struct Failure {
    began: Moment,
    at: Moment,
    message: String,
}

/// Makes connections of one kind.
pub(crate) trait Connect: Send + Sync + 'static {
    type Wire: Wire;

    fn connect(&self) -> std::result::Result<Self::Wire, Box<dyn std::error::Error + Send + Sync>>;
}

#[derive(Debug)]
pub(crate) struct ConnectError(String);

impl std::fmt::Display for ConnectError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ConnectError {}

impl<C: Connect> ManageConnection for Guarded<C> {
    type Connection = Pooled<C::Wire>;
    type Error = ConnectError;

    fn connect(&self) -> std::result::Result<Self::Connection, ConnectError> {
        let began = Moment::now();
        match self.manager.connect() {
            Ok(wire) => {
                self.news.set(None);
                Ok(Pooled { wire, failed: false, made: Moment::now(), tracker: None })
            }
            Err(source) => {
                let message = source.to_string();
                self.news.set(Some(Failure { began, at: Moment::now(), message: message.clone() }));
                Err(ConnectError(message))
            }
        }
    }

    fn is_valid(&self, _: &mut Self::Connection) -> std::result::Result<(), ConnectError> {
        Ok(())
    }

    fn has_broken(&self, connection: &mut Self::Connection) -> bool {
        connection.failed || !connection.wire.serves()
    }
}

impl News {
    fn set(&self, failure: Option<Failure>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = failure;
    }

    /// An error if no connection could be made since a moment.
    fn since(&self, moment: Moment) -> Result<()> {
        self.error_if(|failure| failure.at >= moment)
    }

    /// An error if a connection was refused lately. One that failed after a long time says nothing about now.
    fn lately(&self, now: Moment) -> Result<()> {
        self.error_if(|failure| failure.began >= now - FRESH)
    }

    fn error_if(&self, counts: impl Fn(&Failure) -> bool) -> Result<()> {
        match &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(failure) if counts(failure) => Err(no_connection(&failure.message)),
            _ => Ok(()),
        }
    }
}

/// A pool of connections, for each process its own: a forked child shares the connections of its parent,
/// whose answers it must not take, and has none of the threads that make new ones.
pub(crate) struct Pool<C: Connect> {
    manager: Arc<C>,
    size: u32,
    patience: Duration,
    here: Mutex<Here<C>>,
}

/// The pool of one process.
struct Here<C: Connect> {
    pid: u32,
    pool: r2d2::Pool<Guarded<C>>,
    news: Arc<News>,
}

/// How long the word of a connection that could not be made is believed.
const FRESH: Duration = Duration::from_millis(250);

/// How long a connection may take to be made before it is asked why.
const LOOK: Duration = Duration::from_millis(10);

impl<C: Connect> Pool<C> {
    /// A pool of up to `size` connections, made when they are needed. Nobody waits for one longer
    /// than `patience`.
    pub(crate) fn new(manager: C, size: u32, patience: Duration) -> Self {
        let manager = Arc::new(manager);
        let here = Mutex::new(Here::new(manager.clone(), size, patience));
        Self { manager, size, patience, here }
    }

    /// What this process has.
    fn here(&self) -> (r2d2::Pool<Guarded<C>>, Arc<News>) {
        let mut here = self.here.lock().unwrap_or_else(PoisonError::into_inner);
        if here.pid != std::process::id() {
            let own = Here::new(self.manager.clone(), self.size, self.patience);
            // To close them might say something on them.
            std::mem::forget(std::mem::replace(&mut *here, own));
        }
        (here.pool.clone(), here.news.clone())
    }

    fn get(&self) -> Result<r2d2::PooledConnection<Guarded<C>>> {
        let (pool, news) = self.here();
        while let Some(mut idle) = pool.try_get() {
            if idle.wire.serves() {
                return Ok(idle);
            }
            idle.failed = true;
        }
        let began = Moment::now();
        // A server that refuses is an error at once; the pool itself would go on trying.
        news.lately(began)?;
        if let Ok(connection) = pool.get_timeout(LOOK) {
            return Ok(connection);
        }
        news.lately(began)?;
        pool.get_timeout(self.patience).or_else(|_| {
            news.since(began)?;
            let state = pool.state();
            Err(Error::unavailable(format!(
                "no connection within {:?}, {} of {} are in use; raise pool_size, or see whether the server answers",
                self.patience,
                state.connections - state.idle_connections,
                pool.max_size()
            ))
            .settled())
        })
    }
}

impl<C: Connect> Here<C> {
    fn new(manager: Arc<C>, size: u32, patience: Duration) -> Self {
        let news = Arc::new(News::default());
        let guarded = Guarded { manager, news: news.clone() };
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

impl<C: Connect> Transport for Pool<C> {
    fn exchange(&self, packed: &Packed, track: Option<Tracker>) -> Result<Answers> {
        let (began, mut resent) = (Moment::now(), false);
        // After a restart of the server every connection from before is dead; each is found out once.
        loop {
            let mut connection = self.get().map_err(|error| doubtful(error, resent))?;
            let old = connection.made < began;
            match connection.exchange(packed, track) {
                Ok(replies) => return Ok(Answers { replies, resent }),
                Err(broken) if broken.closed && old => resent = true,
                Err(broken) => return Err(unanswered(broken)),
            }
        }
    }
}

/// Why there is no connection, by what the crate that should have made it says.
pub(crate) fn no_connection(said: &str) -> Error {
    // In the words of the `redis` crate, of today and of 2021.
    if said.contains("authentication failed") || said.contains("refused to switch database") {
        return Error::misconfigured("the server knows no such user, password or database; see the URL")
            .with_source(said);
    }
    let refused = "no connection to the server; see whether it runs, and whether the URL names it";
    Error::unavailable(refused).with_source(said).settled()
}

/// A request of which nobody knows whether it was carried out.
pub(crate) fn unanswered(broken: Broken) -> Error {
    let message = if broken.closed {
        "the server closed the connection before it answered"
    } else {
        "the server did not answer in time"
    };
    Error::unavailable(message).with_source(broken.source)
}

impl<W: Wire> Pooled<W> {
    fn exchange(
        &mut self,
        packed: &Packed,
        track: Option<Tracker>,
    ) -> std::result::Result<Vec<Reply>, Broken> {
        let before = track.map_or_else(Packed::default, |tracker| self.tracking(tracker));
        let skip = before.commands();
        let answers = match skip {
            0 => self.wire.exchange(packed),
            _ => self.wire.exchange(&before.followed_by(packed)),
        };
        match answers {
            Ok(mut replies) => {
                // A tracker that is gone by now: the waiters look now and then, and it comes back.
                if replies.iter().take(skip).any(|reply| matches!(reply, Reply::Error(_))) {
                    self.tracker = None;
                }
                replies.drain(..skip);
                Ok(replies)
            }
            Err(broken) => {
                self.failed = true;
                Err(broken)
            }
        }
    }

    /// What makes the server tell of changes to the keys that the next command reads.
    fn tracking(&mut self, tracker: Tracker) -> Packed {
        let mut before = Packed::default();
        if self.tracker.replace(tracker) != Some(tracker) {
            let id = tracker.client.to_string();
            before.push(&[b"CLIENT", b"TRACKING", b"ON", b"REDIRECT", id.as_bytes(), b"OPTIN", b"NOLOOP"]);
        }
        before.push(&[b"CLIENT", b"CACHING", b"YES"]);
        before
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::*;

    /// Answers with its number.
    struct Numbered(i64);

    impl Wire for Numbered {
        fn exchange(&mut self, _: &Packed) -> std::result::Result<Vec<Reply>, Broken> {
            Ok(vec![Reply::Int(self.0)])
        }
    }

    struct Numbers(AtomicI64);

    impl Connect for Numbers {
        type Wire = Numbered;

        fn connect(&self) -> std::result::Result<Numbered, Box<dyn std::error::Error + Send + Sync>> {
            Ok(Numbered(self.0.fetch_add(1, Ordering::SeqCst)))
        }
    }

    /// Is closed if its number is among the dead.
    struct Mortal {
        number: i64,
        all: Arc<Mortals>,
    }

    #[derive(Default)]
    struct Mortals {
        made: AtomicI64,
        dead: AtomicI64,
        asked: AtomicI64,
    }

    impl Wire for Mortal {
        fn exchange(&mut self, _: &Packed) -> std::result::Result<Vec<Reply>, Broken> {
            self.all.asked.fetch_add(1, Ordering::SeqCst);
            match self.number < self.all.dead.load(Ordering::SeqCst) {
                true => Err(Broken { source: "reset".into(), closed: true }),
                false => Ok(vec![Reply::Int(self.number)]),
            }
        }
    }

    impl Connect for Arc<Mortals> {
        type Wire = Mortal;

        fn connect(&self) -> std::result::Result<Mortal, Box<dyn std::error::Error + Send + Sync>> {
            Ok(Mortal { number: self.made.fetch_add(1, Ordering::SeqCst), all: self.clone() })
        }
    }

    #[test]
    fn old_connections_that_are_dead_are_replaced_and_one_made_for_the_request_is_an_error() {
        let all = Arc::<Mortals>::default();
        let pool = Pool::new(all.clone(), 4, Duration::from_secs(1));
        let old: Vec<_> = (0..3).map(|_| pool.get().expect("there is room")).collect();
        drop(old);
        all.dead.store(3, Ordering::SeqCst);
        let ping = Packed::command(&[b"PING"]);
        let answers = pool.exchange(&ping, None).expect("a new one lives");
        assert!(answers.resent && all.asked.load(Ordering::SeqCst) == 4);
        // That one is dead by now, and so is the one that is made in its place.
        all.dead.store(i64::MAX, Ordering::SeqCst);
        let error = pool.exchange(&ping, None).err().expect("all are dead");
        assert!(error.is_unavailable() && !error.is_settled(), "{error:?}");
        assert_eq!(all.asked.load(Ordering::SeqCst), 6);
        // There is none from before.
        assert!(pool.exchange(&ping, None).is_err());
        assert_eq!(all.asked.load(Ordering::SeqCst), 7);
    }

    #[test]
    fn a_connection_that_failed_after_a_long_time_says_nothing_about_now() {
        let (news, now) = (News::default(), Moment::now());
        let fails = |began| news.set(Some(Failure { began, at: now, message: "no".into() }));
        fails(now - FRESH / 2);
        assert!(news.lately(now).is_err());
        fails(now - FRESH * 2);
        assert!(news.lately(now).is_ok());
        assert!(news.since(now).is_err(), "who waited for it is told why");
    }

    #[test]
    fn a_forked_child_takes_none_of_its_parents_connections() {
        let pool = Pool::new(Numbers(AtomicI64::new(0)), 4, Duration::from_secs(1));
        let asked = || pool.exchange(&Packed::command(&[b"PING"]), None).unwrap().replies[0].int();
        assert_eq!((asked(), asked()), (Some(0), Some(0)));
        // As a child finds it.
        pool.here.lock().unwrap().pid = 0;
        assert_eq!((asked(), asked()), (Some(1), Some(1)));
    }
}
