//! Stores on pools of the package `r2d2_redis`, for programs that have one.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ::r2d2_redis::RedisConnectionManager;
use tenure_core::{Error, Result, Settings};

use crate::acks::Acks;
use crate::backend::{self, Redis};
use crate::choice::{Choice, Chosen};
use crate::config::Wake;
use crate::profile::Profile;
use crate::together::Part;

mod ears;
mod transport;
mod wire;

use transport::Lent;

/// How a store on a pool of the package `r2d2_redis` is to be opened; made by [`Redis::pool_builder`].
#[derive(Clone)]
pub struct PoolBuilder {
    pool: r2d2::Pool<RedisConnectionManager>,
    choice: Choice,
}

/// What its errors name the store.
const LABEL: &str = "redis: (r2d2_redis)";

impl Redis {
    /// Opens a store on a pool that the program has already, with the default settings.
    ///
    /// The same keys, scripts and answers as on [`connect`](Self::connect); [`PoolBuilder`] says what is
    /// different.
    ///
    /// ```no_run
    /// use r2d2_redis::{RedisConnectionManager, r2d2};
    /// use tenure_core::Lock;
    /// use tenure_redis::Redis;
    ///
    /// let manager = RedisConnectionManager::new("redis://127.0.0.1/")?;
    /// let pool = r2d2::Pool::builder().test_on_check_out(false).build(manager)?;
    /// let redis = Redis::from_pool(pool)?;
    /// let held = Lock::new(&redis, "nightly report").try_acquire()?;
    /// held.release()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`PoolBuilder::open`].
    pub fn from_pool(pool: r2d2::Pool<RedisConnectionManager>) -> Result<Self> {
        Self::pool_builder(pool).open()
    }

    /// Opens a store on a pool that the program has already, with settings of its own.
    #[must_use]
    pub fn pool_builder(pool: r2d2::Pool<RedisConnectionManager>) -> PoolBuilder {
        PoolBuilder { pool, choice: Choice::default() }
    }
}

/// What such a pool needs, and what it cannot do:
///
/// * It may be shared with other code. A connection is given back without time limits, as the manager
///   makes them; one that failed is not given back to anybody. Each request begins with a `PING` of its
///   own, so that an answer which other code left unread is found out and never taken for ours.
/// * It has at least two connections, one of which listens as long as somebody waits for a lock.
/// * It is made with `test_on_check_out(false)`: its check would wait for a server that does not answer
///   without any limit.
/// * *Making* a connection has no limit in that package. Nobody here waits for one longer than
///   [`connect_timeout`](Self::connect_timeout), but a pool whose server vanished just then may take as
///   long as the operating system to connect again. [`Redis::connect`] does not have this weakness.
/// * A forked child cannot use it, since its connections are those of its parent: `Unavailable`.
/// * A server that refuses connections is `Unavailable` after `connect_timeout`, not at once.
impl PoolBuilder {
    /// Sets the defaults of the store's locks.
    #[must_use]
    pub fn settings(self, settings: Settings) -> Self {
        Self { choice: Choice { settings, ..self.choice }, ..self }
    }

    /// Sets how long to wait for a connection of the pool, 2 s by default, 10 ms to 60 s.
    #[must_use]
    pub fn connect_timeout(self, limit: Duration) -> Self {
        Self { choice: Choice { connect_timeout: limit, ..self.choice }, ..self }
    }

    /// Sets how long an answer may take, 2 s by default, 10 ms to 60 s. After that the connection is
    /// thrown away.
    #[must_use]
    pub fn io_timeout(self, limit: Duration) -> Self {
        Self { choice: Choice { io_timeout: limit, ..self.choice }, ..self }
    }

    /// Demands that replicas acknowledge each grant and each renewal, as
    /// [`Builder::replicas`](crate::Builder::replicas) does.
    #[must_use]
    pub fn replicas(self, count: u32, within: Duration) -> Self {
        Self { choice: Choice { acks: Some(Acks { replicas: count, within }), ..self.choice }, ..self }
    }

    /// Hands locks on in the order in which processes asked for them, as
    /// [`Builder::fair`](crate::Builder::fair) does. All who share the locks must choose it.
    #[must_use]
    pub fn fair(self) -> Self {
        Self { choice: Choice { fair: Some(true), ..self.choice }, ..self }
    }

    /// Keeps all locks closed for the settings' `max_ttl` after the server was started or lost its data, as
    /// [`Builder::restart_guard`](crate::Builder::restart_guard) does. All who share the locks must choose it.
    #[must_use]
    pub fn restart_guard(self) -> Self {
        Self { choice: Choice { guard: Some(true), ..self.choice }, ..self }
    }

    /// Sets how waiters hear that a lock may be free.
    #[must_use]
    pub fn wake(self, wake: Wake) -> Self {
        Self { choice: Choice { wake: Some(wake), ..self.choice }, ..self }
    }

    /// Sets whose locks the store's are to exclude, by how their keys and values look.
    #[must_use]
    pub fn profile(self, profile: Profile) -> Self {
        Self { choice: Choice { profile: Some(profile), ..self.choice }, ..self }
    }

    /// Opens the store, and asks the server what it can do.
    ///
    /// # Errors
    ///
    /// `Misconfigured` for a pool or a setting that cannot work, or a user that may not do what locks
    /// need. `Unavailable` if the server does not answer.
    pub fn open(self) -> Result<Redis> {
        self.store().map_err(|error| error.at(LABEL))
    }

    fn store(self) -> Result<Redis> {
        let chosen = self.choice.with(Part::Pool)?;
        if self.pool.test_on_check_out() {
            return Err(Error::misconfigured(
                "the pool tests connections when it gives them out, and waits for a server that is silent \
                 without limit; build it with test_on_check_out(false)",
            ));
        }
        if self.pool.max_size() < 2 {
            return Err(Error::misconfigured(
                "the pool has one connection alone; it needs a second one to listen on, raise its max_size",
            ));
        }
        let Chosen { connect_timeout, io_timeout, .. } = chosen;
        let lent = Lent::new(self.pool, connect_timeout, io_timeout);
        let dialect = chosen.dialect(backend::can_track(&lent)?);
        Ok(Redis::new(chosen.site(LABEL), Box::new(lent.clone()), Arc::new(lent), dialect))
    }
}

impl fmt::Debug for PoolBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The pool's manager would show its password.
        f.debug_struct("PoolBuilder").field("pool", &self.pool.state()).finish_non_exhaustive()
    }
}
