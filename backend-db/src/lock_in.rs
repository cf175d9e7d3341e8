//! Locks that last as long as a transaction of the caller's.

mod borrowed;

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::thread;
use std::time::Duration;

use diesel::connection::TransactionManager;
use diesel::result::{DatabaseErrorKind, Error as DieselError};
use tenure_core::{Error, Fence, IntoName, Kind, Moment, Name, Result};

use crate::backend::Db;
use crate::dialect::Kind as DbKind;
use crate::failure::{self, Remedy};
use crate::key::Key;
use crate::link::Link;
use crate::statement::{Statement, Values};

pub use borrowed::Borrowed;
use borrowed::{Asked, Row};

/// A lock that is held until the caller's transaction ends, be it by a commit or not.
///
/// It is had from [`Db::lock_in`], by rows, or from [`advisory`](Self::advisory). It borrows the connection,
/// so that it cannot outlive what [`transaction`](diesel::Connection::transaction) lends, and lends it in turn:
/// statements go through `&mut *lock`.
///
/// ```
/// # #[cfg(feature = "sqlite")] {
/// use diesel::prelude::*;
/// use tenure_db::{Db, ReloadError};
///
/// diesel::table! {
///     orders { id -> BigInt, total -> BigInt, }
/// }
///
/// fn price(store: &Db, connection: &mut SqliteConnection) -> Result<(), ReloadError> {
///     connection.immediate_transaction(|connection| {
///         let mut lock = store.lock_in(connection, "order:7")?;
///         diesel::update(orders::table.find(7)).set(orders::total.eq(100)).execute(&mut *lock)?;
///         Ok(())
///     })
/// }
/// # }
/// ```
///
/// Nothing releases it but the end of the transaction, when what was written under it can be seen by whoever
/// comes next: dropping it, or the end of a savepoint inside of the transaction, does not. There is no lease,
/// and nothing to renew: a holder that is stopped holds it until the database ends its connection. It can be
/// used for as long as the transaction only; a value that is to leave it does not compile:
///
/// ```compile_fail
/// # use diesel::prelude::*;
/// # use tenure_db::{Db, LockIn, ReloadError};
/// fn escape(store: &Db, connection: &mut SqliteConnection) {
///     let lock = connection.transaction::<_, ReloadError, _>(|connection| {
///         Ok(store.lock_in(connection, "order:7")?)
///     });
/// }
/// ```
///
/// nor does a statement past it, on the connection that it has borrowed:
///
/// ```compile_fail,E0499
/// # use diesel::connection::SimpleConnection;
/// # use diesel::prelude::*;
/// # use tenure_db::{Db, ReloadError};
/// fn beside(store: &Db, connection: &mut SqliteConnection) -> Result<(), ReloadError> {
///     let mut lock = store.lock_in(connection, "order:7")?;
///     connection.batch_execute("COMMIT")?;
///     lock.batch_execute("UPDATE orders SET total = 100")?;
///     Ok(())
/// }
/// ```
///
/// # By rows or advisory
///
/// A lock by rows takes the lock's own row in the table of locks, and excludes whoever holds the lock of this
/// name by a [`Lock`](tenure_core::Lock) too. Its fence is of the same numbers, and is there for good only if
/// the transaction commits; what is undone leaves nothing that it could have been compared with. While it is
/// held, an attempt of a `Lock` on the same name has to wait for the row, up to the store's
/// [`io_timeout`](crate::Builder::io_timeout), and is `Unavailable` after that: it is for transactions that are
/// shorter.
///
/// An advisory lock of PostgreSQL excludes nothing but other advisory locks, writes nothing, and has no fence.
pub struct LockIn<'tx, C> {
    connection: &'tx mut C,
    name: Name,
    fence: Option<Fence>,
}

/// How long who waits lets pass before he asks again; twice as long each time, up to the second.
const PACE: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(32));

impl Db {
    /// Takes a lock until the end of the transaction that is open on a caller's connection to the same
    /// database, by the lock's row. It does not wait.
    ///
    /// # Errors
    ///
    /// `Contended` if somebody holds it, or if the transaction sees the database as it was before the last
    /// holder was done: a serializable one must then be begun anew. `Misconfigured` outside of a transaction.
    /// `InvalidName`, `Unavailable`. The transaction can go on after any of them but the last.
    pub fn lock_in<'tx, C: Borrowed>(
        &self,
        connection: &'tx mut C,
        name: impl IntoName,
    ) -> Result<LockIn<'tx, C>> {
        self.lock_in_for(connection, name, Duration::ZERO)
    }

    /// As [`lock_in`](Self::lock_in), waiting up to `limit`, asking every few milliseconds.
    ///
    /// # Errors
    ///
    /// As [`lock_in`](Self::lock_in), but `TimedOut` for `Contended`.
    pub fn lock_in_for<'tx, C: Borrowed>(
        &self,
        connection: &'tx mut C,
        name: impl IntoName,
        limit: Duration,
    ) -> Result<LockIn<'tx, C>> {
        let inner = self.inner();
        let name = Name::new(name.into_key("")?)?;
        let told = |error: Error| error.at(inner.site.label()).on(name.as_str());
        in_transaction(connection).map_err(told)?;
        let key = Key::new(&format!("{}{name}", inner.site.settings().prefix()));
        let mut values = Values::of(&key);
        inner.fill(&mut values);
        let question = borrowed::Question { table: &inner.table, values };
        let dialect = &inner.dialect;
        if dialect.kind != DbKind::Sqlite {
            // On a connection of ours: made in the transaction, it would keep others from making it.
            let made = || inner.follow(&dialect.known, Values::of(&key));
            inner.know(&key).and_then(|()| made()).map_err(told)?;
        }
        let row = until(limit, || {
            // To look at a row and to lock it is one for MySQL, and the holder has to renew his lease there.
            let looks = matches!(dialect.kind, DbKind::MariaDb | DbKind::MySql);
            let look = |link: &mut dyn Link| link.look(Statement::new(&dialect.look, &question.values));
            match looks && !inner.pool.ask(look)?.value.is_empty() {
                true => Ok(Ok(None)),
                false => Ok(connection.row(&question)),
            }
        });
        let row = row.map_err(told)?;
        let fence = row.fence.and_then(|fence| u64::try_from(fence).ok()).map(Fence::new);
        Ok(LockIn { connection, name, fence })
    }
}

#[cfg(feature = "postgres")]
impl<'tx> LockIn<'tx, diesel::PgConnection> {
    /// Takes an advisory lock until the end of the transaction that is open on a connection. It does not wait.
    ///
    /// Its number is the first eight bytes of the SHA-256 of the name, so that two of a billion names share one
    /// with a chance of one in forty: they exclude each other then, which is no harm but time. So do numbers
    /// that other parts of the application lock by themselves.
    ///
    /// # Errors
    ///
    /// `Contended` if somebody holds it, `Misconfigured` outside of a transaction, `InvalidName`,
    /// `Unavailable`.
    pub fn advisory(connection: &'tx mut diesel::PgConnection, name: impl IntoName) -> Result<Self> {
        Self::advisory_for(connection, name, Duration::ZERO)
    }

    /// As [`advisory`](Self::advisory), waiting up to `limit`, asking every few milliseconds.
    ///
    /// # Errors
    ///
    /// As [`advisory`](Self::advisory), but `TimedOut` for `Contended`.
    pub fn advisory_for(
        connection: &'tx mut diesel::PgConnection,
        name: impl IntoName,
        limit: Duration,
    ) -> Result<Self> {
        let name = Name::new(name.into_key("")?)?;
        let told = |error: Error| error.on(name.as_str());
        in_transaction(connection).map_err(told)?;
        let number = Key::new(name.as_str()).number().cast_signed();
        until(limit, || Ok(borrowed::advisory(connection, number))).map_err(told)?;
        Ok(Self { connection, name, fence: None })
    }
}

impl<C> LockIn<'_, C> {
    /// The lock's name, without the prefix of the store's settings.
    #[must_use]
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// The fence, which an advisory lock has not.
    #[must_use]
    pub fn fence(&self) -> Option<Fence> {
        self.fence
    }
}

impl<C> Deref for LockIn<'_, C> {
    type Target = C;

    fn deref(&self) -> &C {
        self.connection
    }
}

impl<C> DerefMut for LockIn<'_, C> {
    fn deref_mut(&mut self) -> &mut C {
        self.connection
    }
}

impl<C> fmt::Debug for LockIn<'_, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockIn").field("name", &self.name).field("fence", &self.fence).finish_non_exhaustive()
    }
}

/// # Errors
///
/// `Misconfigured` if no transaction is open that diesel knows of.
fn in_transaction<C: Borrowed>(connection: &mut C) -> Result<()> {
    let status = C::TransactionManager::transaction_manager_status_mut(connection);
    match status.transaction_depth() {
        Ok(Some(_)) => Ok(()),
        Ok(None) => Err(Error::misconfigured(
            "no transaction is open that the lock could end with; call it inside of \
             `connection.transaction(|connection| ..)`",
        )),
        Err(source) => Err(Error::unavailable("the transaction is broken").settled().with_source(source)),
    }
}

/// Asks until somebody has an answer or the time is over.
fn until(limit: Duration, mut ask: impl FnMut() -> Result<Asked>) -> Result<Row> {
    let deadline = Moment::now() + limit;
    let (mut pace, longest) = PACE;
    loop {
        match ask()? {
            Ok(Some(row)) => return Ok(row),
            Ok(None) => {}
            Err(error) if is_contention(&error) => {}
            Err(error) => return Err(failure::error(&error)),
        }
        let left = deadline.since(Moment::now());
        if left.is_zero() {
            return Err(match limit {
                Duration::ZERO => Error::new(Kind::Contended, "somebody holds the lock"),
                _ => Error::new(Kind::TimedOut, "the lock was not free in time"),
            });
        }
        thread::sleep(rand::random_range(pace / 2..=pace).min(left));
        pace = (pace * 2).min(longest);
    }
}

/// Whether others were in the way, which was undone up to the savepoint.
fn is_contention(error: &DieselError) -> bool {
    let says = |text: &str| error.to_string().contains(text);
    let serialization =
        matches!(error, DieselError::DatabaseError(DatabaseErrorKind::SerializationFailure, _));
    serialization
        || failure::remedy(error) == Remedy::Repeat
        || says("lock timeout")
        || says("Lock wait timeout")
}
