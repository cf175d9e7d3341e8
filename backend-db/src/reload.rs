//! Records that are read again once their lock is held.

use std::error::Error as StdError;
use std::fmt;

use diesel::associations::{HasTable, Identifiable};
use diesel::dsl::Find;
use diesel::query_dsl::LoadQuery;
use diesel::query_dsl::methods::FindDsl;
use diesel::result::Error as DieselError;
use diesel::{Connection, RunQueryDsl, Table};

/// Reads a record again, by its primary key: what was read before its lock was got may be old by now.
///
/// Every struct has it that is `Identifiable` and can be loaded from its table with all columns in their
/// order: `#[derive(Identifiable, Queryable)]`. In `lock_model!` it is what `refresh` is for:
/// `lock_model!(order, on = &store, refresh = order.reload(&mut connection))?`.
///
/// ```
/// # #[cfg(feature = "sqlite")]
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use diesel::connection::SimpleConnection;
/// use diesel::prelude::*;
/// use tenure_db::Reload;
///
/// diesel::table! {
///     orders { id -> BigInt, total -> BigInt, }
/// }
///
/// #[derive(Identifiable, Queryable)] // and `Lockable`, which reads the same attribute
/// #[diesel(table_name = orders)]
/// struct Order { id: i64, total: i64 }
///
/// # let mut connection = SqliteConnection::establish(":memory:")?;
/// # connection.batch_execute("CREATE TABLE orders (id bigint, total bigint); INSERT INTO orders VALUES (7, 100)")?;
/// let mut order = Order { id: 7, total: 0 };
/// order.reload(&mut connection)?;
/// assert_eq!(order.total, 100);
/// # Ok(())
/// # }
/// # #[cfg(not(feature = "sqlite"))]
/// # fn main() {}
/// ```
///
/// The record must be read where the last holder's writes can be seen: not in a transaction that began before
/// the lock was held and sees what was there then, as those of MySQL do.
pub trait Reload<C> {
    /// Replaces the record by what the database has under its primary key now. If there is an error, it is
    /// left as it was.
    ///
    /// # Errors
    ///
    /// [`ReloadError::Gone`] if the database has no such record any more, [`ReloadError::Database`] if it did
    /// not answer.
    fn reload(&mut self, connection: &mut C) -> Result<(), ReloadError>;
}

impl<T, C, Rows> Reload<C> for T
where
    C: Connection,
    Rows: Table,
    T: HasTable<Table = Rows>,
    for<'a> &'a T: Identifiable<Table = Rows>,
    for<'a> Rows: FindDsl<<&'a T as Identifiable>::Id>,
    for<'a> Find<Rows, <&'a T as Identifiable>::Id>: LoadQuery<'a, C, T>,
{
    fn reload(&mut self, connection: &mut C) -> Result<(), ReloadError> {
        *self = T::table().find((&*self).id()).get_result(connection)?;
        Ok(())
    }
}

/// Why a record could not be locked and read again.
#[derive(Debug)]
pub enum ReloadError {
    /// The lock was not got; nothing was read.
    Lock(tenure_core::Error),
    /// The record is not there any more: whoever had the lock before has deleted it.
    Gone,
    /// The database did not answer.
    Database(DieselError),
}

impl fmt::Display for ReloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lock(error) => error.fmt(f),
            Self::Gone => f.write_str("the record was deleted before its lock was held"),
            Self::Database(_) => f.write_str("the record could not be read again after its lock was held"),
        }
    }
}

impl StdError for ReloadError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Lock(error) => error.source(),
            Self::Gone => None,
            Self::Database(error) => Some(error),
        }
    }
}

impl From<tenure_core::Error> for ReloadError {
    fn from(error: tenure_core::Error) -> Self {
        Self::Lock(error)
    }
}

impl From<DieselError> for ReloadError {
    fn from(error: DieselError) -> Self {
        match error {
            DieselError::NotFound => Self::Gone,
            error => Self::Database(error),
        }
    }
}

/// For functions whose errors are those of locks alone: what went wrong at the database is an `Unavailable`
/// of which this error is the source.
impl From<ReloadError> for tenure_core::Error {
    fn from(error: ReloadError) -> Self {
        match error {
            ReloadError::Lock(error) => error,
            other => {
                let message = "the record could not be read under its lock, which is released again";
                Self::unavailable(message).settled().with_source(other)
            }
        }
    }
}
