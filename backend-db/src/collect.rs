//! Forgetting names that have long been unused.

use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use tenure_core::{Error, Moment, Result};

use crate::Db;
use crate::statement::{Statement, Values, micros};

/// How many rows one statement forgets at most, so that nobody waits for it long.
const STEP: i64 = 500;

/// After how long a name that is free and that nobody waits for is forgotten without being asked.
pub(crate) const IDLE: Duration = Duration::from_secs(24 * 3600);

/// How often a process looks for such names, at most.
const PACE: Duration = Duration::from_secs(3600);

/// When this process looks again.
pub(crate) struct Broom(Mutex<Moment>);

impl Broom {
    /// The first look is at some time within the first hour, so that processes that start together do not
    /// look together.
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Moment::now() + PACE.mul_f64(rand::random())))
    }

    /// Whether it is time to look; then it is not until later.
    pub(crate) fn is_due(&self) -> bool {
        let mut next = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Moment::now();
        let is_due = now >= *next;
        if is_due {
            *next = now + PACE;
        }
        is_due
    }
}

impl Db {
    /// Forgets the names that nobody has held, and nobody has waited for, for at least this long, 1 s or
    /// more, and returns how many those were. Their fences go on growing when they are used again.
    ///
    /// A store does that by itself about once an hour, for names unused for a day, in the background of some
    /// acquisition.
    ///
    /// # Errors
    ///
    /// `Misconfigured` for less than a second, `Unavailable` if the database does not answer.
    pub fn forget_unused(&self, idle: Duration) -> Result<u64> {
        let inner = self.inner();
        let mut values = values(idle)?;
        inner.fill(&mut values);
        let mut act = |text| {
            let acted = inner.pool.ask(|link| {
                values.read_clocks();
                link.act(Statement::new(text, &values))
            });
            acted.map(|acted| acted.value)
        };
        // First, so that no name is forgotten whose next fence could be lower.
        act(&inner.dialect.raise)?;
        act(&inner.dialect.shares.forget)?;
        let mut all = 0;
        loop {
            let some = act(&inner.dialect.forget)?;
            all += some as u64;
            if some == 0 {
                return Ok(all);
            }
        }
    }

    /// Forgets unused names now and then, in the background.
    pub(crate) fn sweep_now_and_then(&self) {
        if self.inner().broom.is_due() {
            let own = self.clone();
            // If there is no thread to be had, another time.
            let _ =
                thread::Builder::new().name("tenure-db-sweep".into()).spawn(move || own.forget_unused(IDLE));
        }
    }
}

/// What is said to forget names.
///
/// # Errors
///
/// `Misconfigured` for less than a second.
pub(crate) fn values(idle: Duration) -> Result<Values> {
    if idle < Duration::from_secs(1) {
        return Err(Error::misconfigured("names that were used within the last second are not unused"));
    }
    Ok(Values { ttl: micros(idle), limit: STEP, ..Values::default() })
}
