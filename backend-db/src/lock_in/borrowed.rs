//! What is said on a caller's connection, inside of a transaction of his.

use diesel::connection::AnsiTransactionManager;
use diesel::result::QueryResult;
use diesel::sql_types::{BigInt, Nullable};
use diesel::{Connection, QueryableByName, RunQueryDsl};

use crate::statement::{Statement, Text, Values};
use crate::table::Table;

/// A connection of diesel's on which a [`LockIn`](super::LockIn) can be taken: `SqliteConnection`,
/// `PgConnection` or `MysqlConnection`.
pub trait Borrowed: Connection<TransactionManager = AnsiTransactionManager> + Says {}

/// What came back, if the lock was free.
pub(super) type Asked = QueryResult<Option<Row>>;

/// Which lock is asked for.
#[derive(Debug)]
pub struct Question<'q> {
    pub(super) table: &'q Table,
    pub(super) values: Values,
}

/// The fence of a lock that was got.
#[derive(Clone, Copy, Debug, QueryableByName)]
pub struct Row {
    #[diesel(sql_type = Nullable<BigInt>)]
    pub(super) fence: Option<i64>,
}

/// How a kind of connection is spoken to; nobody outside can see it, so nobody can add a kind.
pub trait Says: Sized {
    /// Takes the row of a lock if it is free and nobody has it in a transaction; the row is returned then.
    /// An error is undone, and leaves the caller's transaction as it was.
    fn row(&mut self, question: &Question<'_>) -> QueryResult<Option<Row>>;
}

#[cfg(feature = "sqlite")]
impl Borrowed for diesel::SqliteConnection {}

#[cfg(feature = "sqlite")]
impl Says for diesel::SqliteConnection {
    /// Who writes has the whole file to himself until the transaction ends, so the row is made here too.
    fn row(&mut self, question: &Question<'_>) -> QueryResult<Option<Row>> {
        let mut values = question.values.clone();
        values.read_clocks();
        let text = |sql: &str| Text::new(&question.table.in_place(sql));
        let made = text(
            "INSERT INTO tenure_lock (name, whole, fence, boot) SELECT :name, :whole, last_fence, :boot \
             FROM tenure_lock_meta WHERE true ON CONFLICT (name) DO NOTHING",
        );
        Statement::new(&made, &values).kept(false).execute(self)?;
        let taken = text(
            "UPDATE tenure_lock SET fence = max(fence + 1, :wall) WHERE name = :name \
             AND (ends <= :now OR boot <> :boot) RETURNING fence",
        );
        first(Statement::new(&taken, &values).kept(false).load(self)?)
    }
}

#[cfg(feature = "postgres")]
impl Borrowed for diesel::PgConnection {}

#[cfg(feature = "postgres")]
impl Says for diesel::PgConnection {
    /// Where others have locked the row it is passed over, not waited for. A serializable transaction that
    /// sees an older row fails; the savepoint keeps that from ending the caller's.
    fn row(&mut self, question: &Question<'_>) -> QueryResult<Option<Row>> {
        let now = "(date_part('epoch', clock_timestamp()) * 1000000)::bigint";
        let text = Text::new(&question.table.in_place(&format!(
            "WITH free AS MATERIALIZED (SELECT name FROM tenure_lock WHERE name = :name AND ends <= {now} \
                 FOR UPDATE SKIP LOCKED) \
             UPDATE tenure_lock t SET fence = greatest(t.fence + 1, {now}) FROM free WHERE t.name = free.name \
             RETURNING t.fence AS fence"
        )));
        let statement = Statement::new(&text, &question.values).kept(false);
        self.transaction(|connection| first(statement.load(connection)?))
    }
}

#[cfg(feature = "mysql")]
impl Borrowed for diesel::MysqlConnection {}

#[cfg(feature = "mysql")]
impl Says for diesel::MysqlConnection {
    /// What is locked is seen as it is now, whatever the transaction sees otherwise.
    fn row(&mut self, question: &Question<'_>) -> QueryResult<Option<Row>> {
        let now = "CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS SIGNED)";
        let values = &question.values;
        let text = |sql: &str| Text::new(&question.table.in_place(sql));
        let free = text(&format!(
            "SELECT greatest(fence + 1, {now}) AS fence FROM tenure_lock WHERE name = :name AND ends <= {now} \
             FOR UPDATE SKIP LOCKED"
        ));
        let row: Option<Row> = first(Statement::new(&free, values).kept(false).load(self)?)?;
        if let Some(Row { fence: Some(fence) }) = row {
            let marked = text("UPDATE tenure_lock SET fence = :fence WHERE name = :name");
            let values = Values { fence, ..values.clone() };
            Statement::new(&marked, &values).kept(false).execute(self)?;
        }
        Ok(row)
    }
}

/// Takes an advisory lock of PostgreSQL that ends with the transaction.
#[cfg(feature = "postgres")]
pub(super) fn advisory(connection: &mut diesel::PgConnection, number: i64) -> Asked {
    let sql = "SELECT NULL::bigint AS fence WHERE pg_try_advisory_xact_lock($1)";
    first(diesel::sql_query(sql).bind::<BigInt, _>(number).load(connection)?)
}

fn first(rows: Vec<Row>) -> Asked {
    Ok(rows.into_iter().next())
}
