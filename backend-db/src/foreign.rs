//! Locks in a table that another program's library keeps its locks in.

mod columns;
#[cfg(feature = "mysql")]
mod mysql;
#[cfg(feature = "postgres")]
mod postgres;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tenure_core::{
    AnyBackend, Attempt, Backend, Claim, Error, Mode, Release, Renewal, Resolved, Restore, Result, Settings,
    Site,
};

use crate::answer::{self, Answer};
use crate::course::{Course, Step, follow};
use crate::key::Key;
use crate::pool::{Open, Pool};
use crate::statement::{Values, micros};
use crate::table::Table;
use crate::url::{self, Place};

/// Whose table it is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ForeignTable {
    /// ShedLock's `shedlock`, as its `JdbcTemplateLockProvider` uses it with `usingDbTime()`; names are its names.
    ///
    /// *Exact* for locks held on both sides: each takes the row in one statement, by the server's clock, and
    /// extends and releases what is its own. ShedLock tells owners apart by host names: of two of its schedulers
    /// on one host, one can release what the other has, as among its own kind. Without `usingDbTime()` it
    /// compares with its own clock, and that must be right. Names have up to 64 characters, and moments at least
    /// milliseconds. In MariaDB and MySQL, ShedLock's sessions must have the server's time zone, as they have unless
    /// its URL names another: what a `TIMESTAMP` says depends on that.
    ///
    /// The fence is `locked_at`, in microseconds, and at least a millisecond above the last one; what ShedLock
    /// itself takes has the clock's.
    ShedLock,
    /// The table of Django's `DatabaseCache`, by the name that `createcachetable` was given, with the cache's
    /// `KEY_PREFIX` and `VERSION`; for `cache.add` as django-cache-lock calls it, with `USE_TZ = True`.
    ///
    /// *Not safe* while Django takes part, and here to be seen by what still does: Django looks and then writes,
    /// so that two can win a key that has expired, and the one here can lose to Django in that moment too;
    /// reading an expired key deletes whatever is there by then; and a full table (`MAX_ENTRIES`) drops keys that
    /// are held. A holder here learns of each with its next renewal. What is held by nobody of Django's is
    /// exclusive among those here, and what is alive is denied on both sides.
    ///
    /// Lifetimes are whole seconds, and up to one longer than asked. Fences are the server's clock alone.
    DjangoCache {
        /// The name of the table.
        table: String,
        /// The cache's `KEY_PREFIX`, empty by default.
        key_prefix: String,
        /// The cache's `VERSION`, 1 by default.
        version: u32,
    },
}

/// Locks in the table of [another library](ForeignTable), in PostgreSQL, MariaDB or MySQL, so that programs that use that library
/// and programs that use this one exclude each other.
///
/// Nobody is told of a release: who waits asks every [`sleep`](Settings::sleep). Each key is a row, which the
/// other library's own rules remove or keep.
///
/// MariaDB and MySQL compare names as the table does, which by default is without case and without accents: such
/// names exclude each other.
///
/// ```no_run
/// use tenure_core::Lock;
/// use tenure_db::{ForeignLocks, ForeignTable};
///
/// let shedlock = ForeignLocks::connect("postgres://localhost/app", &ForeignTable::ShedLock)?;
/// let held = Lock::new(&shedlock, "nightly-report").try_acquire()?;
/// # Ok::<(), tenure_core::Error>(())
/// ```
#[derive(Clone)]
pub struct ForeignLocks(Arc<Inner>);

struct Inner {
    site: Site,
    pool: Pool,
    says: Says,
    is_django: bool,
}

/// What is said about a table.
#[derive(Debug)]
struct Says {
    /// Fails if the table is not there; its code is one if its columns can hold what they must.
    there: Step,
    acquire: Course,
    renew: Course,
    verify: Course,
    release: Course,
    /// Lets go of a lock and leaves its name taken for some time.
    keep: Course,
}

const PATIENCE: Duration = Duration::from_secs(2);

impl ForeignLocks {
    /// Opens the table that is there, with default settings.
    ///
    /// # Errors
    ///
    /// As [`connect_with`](Self::connect_with).
    pub fn connect(url: &str, table: &ForeignTable) -> Result<Self> {
        Self::connect_with(url, table, Settings::default())
    }

    /// Opens the table that is there. Of the settings, the prefix is that of the other library: none for
    /// ShedLock, `KEY_PREFIX:VERSION:lock:` for Django.
    ///
    /// # Errors
    ///
    /// `Misconfigured` if the table is not there, cannot be called so or has moments without milliseconds, or
    /// the database is SQLite; `Unavailable` if it does not answer.
    pub fn connect_with(url: &str, table: &ForeignTable, settings: Settings) -> Result<Self> {
        let parsed = url::parse(url)?;
        Self::open(&parsed, table, settings).map_err(|error| error.at(&parsed.label))
    }

    fn open(parsed: &url::Parsed, table: &ForeignTable, settings: Settings) -> Result<Self> {
        let prefix = match table {
            ForeignTable::ShedLock => String::new(),
            ForeignTable::DjangoCache { key_prefix, version, .. } => format!("{key_prefix}:{version}:lock:"),
        };
        let (says, open) = reach(&parsed.place, table)?;
        let inner = Inner {
            site: Site::new(&*parsed.label, settings.with_prefix(prefix)?),
            pool: Pool::new(open, 8, PATIENCE, PATIENCE),
            says,
            is_django: matches!(table, ForeignTable::DjangoCache { .. }),
        };
        let there = std::slice::from_ref(&inner.says.there);
        let told = inner.pool.ask(|link| follow(link, there, &Values::default()))?.value;
        match told {
            Some(Answer { code: Answer::DONE, .. }) => Ok(Self(Arc::new(inner))),
            _ => Err(Error::misconfigured(
                "the table's moments have no milliseconds; change their columns to TIMESTAMP(3) or finer",
            )),
        }
    }

    fn values(&self, claim: &Claim) -> Result<Values> {
        let longest = if self.0.is_django { 255 } else { 64 };
        if claim.key().contains('\0') || claim.key().chars().count() > longest {
            return Err(Error::invalid_name(format!(
                "in this table, a name and its prefix are at most {longest} characters, none of them U+0000"
            )));
        }
        let key: Resolved<'_, Key> = claim.resolved(|| Ok(Arc::new(Key::new(claim.key()))))?;
        let written = |owner: String| if self.0.is_django { pickled(&owner) } else { owner.into_bytes() };
        Ok(Values {
            name: claim.key().as_bytes().to_vec(),
            key: claim.key().into(),
            whole: None,
            token: written(claim.owner().to_string()),
            // Whose it is after its owner let go of it, and for as long as it is to stay taken.
            victim: written("nobody".into()),
            ..Values::of_claim(claim, &key)
        })
    }

    fn ask(&self, course: &[Step], values: &Values) -> Result<(Option<Answer>, bool)> {
        let answered = self.0.pool.ask(|link| follow(link, course, values))?;
        Ok((answered.value, answered.resent))
    }
}

/// What is said to a server about a table, and what opens connections to it.
fn reach(place: &Place, table: &ForeignTable) -> Result<(Says, Arc<dyn Open>)> {
    let name = Table::new(match table {
        ForeignTable::ShedLock => "shedlock",
        ForeignTable::DjangoCache { table, .. } => table,
    })?;
    match place {
        #[cfg(feature = "postgres")]
        Place::Postgres(url) => {
            let says = match table {
                ForeignTable::ShedLock => postgres::shedlock(&name),
                ForeignTable::DjangoCache { .. } => postgres::django(&name),
            };
            let server = crate::link::postgres::Postgres::new(url, PATIENCE, PATIENCE);
            Ok((says, Arc::new(server)))
        }
        #[cfg(feature = "mysql")]
        Place::MySql(url) => {
            let says = match table {
                ForeignTable::ShedLock => mysql::shedlock(&name),
                ForeignTable::DjangoCache { .. } => mysql::django(&name),
            };
            Ok((says, Arc::new(mysql::AsOthers::new(url, PATIENCE))))
        }
        Place::Sqlite(_) => Err(Error::misconfigured(
            "tables of other libraries are read in PostgreSQL, MariaDB and MySQL only",
        )),
        #[allow(unreachable_patterns, reason = "all kinds may be there")]
        _ => Err(Error::misconfigured(
            "this build has no such database; build tenure with the feature postgres or mysql",
        )),
    }
}

/// Whether MariaDB or MySQL has no such character in a column, which it says in English to us.
fn is_unfit(error: &Error) -> bool {
    let source = std::error::Error::source(error);
    source.is_some_and(|source| source.to_string().starts_with("Incorrect string value"))
}

fn unfit() -> Error {
    Error::invalid_name(
        "the table's column cannot hold all characters of the name; choose another, or convert the table to utf8mb4",
    )
}

/// A text as Python's pickle protocol 5 writes it, of less than 256 bytes.
fn pickled(text: &str) -> Vec<u8> {
    let len = u8::try_from(text.len()).unwrap_or(u8::MAX);
    let mut bytes = vec![0x80, 5, 0x95];
    bytes.extend((u64::from(len) + 4).to_le_bytes());
    bytes.extend([0x8c, len]);
    bytes.extend(text.as_bytes());
    bytes.extend([0x94, b'.']);
    bytes
}

impl Backend for ForeignLocks {
    /// The database has it all under the claim's key and token.
    type Grant = ();
    type Handle = Self;

    fn handle(&self) -> Self {
        self.clone()
    }

    fn site(&self) -> &Site {
        &self.0.site
    }

    fn try_acquire(&self, claim: &Claim) -> Result<Attempt<()>> {
        if claim.mode() != Mode::Exclusive || claim.term().ttl().is_none() {
            return Err(Error::misconfigured("locks in this table are exclusive and have a lease"));
        }
        let asked = self.ask(&self.0.says.acquire, &self.values(claim)?);
        let (answer, _) = asked.map_err(|error| if is_unfit(&error) { unfit() } else { error })?;
        answer::attempt(claim, answer)
    }

    fn renew(&self, due: Renewal<'_, ()>) -> Result<()> {
        let mut values = self.values(due.claim())?;
        let course = match due.ttl() {
            Duration::MAX => &self.0.says.verify,
            _ => &self.0.says.renew,
        };
        values.ttl = micros(due.ttl());
        answer::verdict(self.ask(course, &values)?.0, false)
    }

    fn release(&self, end: Release<'_, ()>) -> Result<()> {
        let mut values = self.values(end.claim())?;
        values.keep = end.keep().map_or(0, micros);
        let course = if end.keep().is_some() { &self.0.says.keep } else { &self.0.says.release };
        let (answer, resent) = self.ask(course, &values)?;
        answer::verdict(answer, resent)
    }
}

impl Restore for ForeignLocks {
    fn restore(&self, claim: &Claim) -> Result<tenure_core::Granted<()>> {
        answer::restored(claim, self.ask(&self.0.says.renew, &self.values(claim)?)?.0)
    }
}

impl From<ForeignLocks> for AnyBackend {
    fn from(locks: ForeignLocks) -> Self {
        Self::erase(locks).restore().build()
    }
}

impl fmt::Debug for ForeignLocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ForeignLocks").field("store", &self.0.site.label()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_pickled_as_python_does() {
        let python = b"\x80\x05\x95\x06\0\0\0\0\0\0\0\x8c\x02ab\x94.";
        assert_eq!(pickled("ab"), python);
        assert_eq!(pickled(&"x".repeat(32)).len(), 47);
    }
}
