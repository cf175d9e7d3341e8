//! Writes that a later holder's write has made impossible.

use diesel::associations::HasTable;
use diesel::dsl::{Eq, LtEq};
use diesel::expression_methods::ExpressionMethods;
use diesel::query_builder::{AsChangeset, AsQuery, DeleteStatement, IntoUpdateTarget, UpdateStatement};
use diesel::query_dsl::methods::{ExecuteDsl, FilterDsl};
use diesel::result::QueryResult;
use diesel::sql_types::BigInt;
use diesel::{Column, Connection, Table};
use tenure_core::{Cause, DurableFence, Error, Fence, Handle, Held, Lock, Result};

/// Lets a write to your own table through only if no later holder of the lock has written before.
///
/// A lease can end while its holder is paused: the process was stopped, its host was suspended, its packets
/// were delayed. When it goes on, it writes before it can notice. What stops that write is the row itself,
/// if it knows the highest [`Fence`] that was ever written to it: a column `BIGINT NOT NULL DEFAULT 0`, and
/// a write that says `WHERE fence <= mine` and `SET fence = mine`. This makes those writes.
///
/// ```
/// # #[cfg(feature = "sqlite")] {
/// use diesel::prelude::*;
/// use tenure_core::{DurableFence, Handle, Held, Lock};
/// use tenure_db::Gate;
///
/// diesel::table! {
///     orders { id -> BigInt, total -> BigInt, fence -> BigInt, }
/// }
///
/// fn price<B: Handle + DurableFence>(
///     held: &Lock<B, Held>,
///     id: i64,
///     total: i64,
///     connection: &mut SqliteConnection,
/// ) -> tenure_core::Result<()> {
///     let gate = Gate::of(held);
///     gate.update(orders::table.find(id), orders::fence, orders::total.eq(total), connection)?;
///     Ok(())
/// }
/// # }
/// ```
///
/// It is made of a lock whose store has its fences on disk before it grants them
/// ([`DurableFence`](tenure_core::DurableFence)): a fence that a crash of the store could give out twice would
/// let the older holder through.
///
/// ```compile_fail,E0277
/// # use tenure_core::{Held, Lock};
/// # use tenure_db::{Db, Gate};
/// fn gate(held: &Lock<Db, Held>) -> Gate {
///     Gate::of(held) // a store that was not asked; see `Db::durable`
/// }
/// ```
///
/// # What is to be kept to
///
/// Every write to the row goes through the gate of *the same* lock name; one that does not, such as a hand-made
/// `UPDATE`, is not held back. A row that is new takes its fence with it: insert it with
/// [`mark`](Self::mark). Writes to several tables are held back together if they are one transaction whose
/// first statement passes the gate at one row that stands for all, with [`enter`](Self::enter): the row stays
/// locked to the end of the transaction.
///
/// The fences of two stores, or of a store and its empty successor, are not to be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gate {
    fence: i64,
}

impl Gate {
    /// The gate for whoever holds a lock.
    #[must_use]
    pub fn of<B: Handle + DurableFence>(held: &Lock<B, Held>) -> Self {
        Self::at(held.fence())
    }

    fn at(fence: Fence) -> Self {
        // Fences stay below 2^53 until the year 2255.
        Self { fence: i64::try_from(fence.get()).unwrap_or(i64::MAX) }
    }

    /// Changes the rows of `target` whose `column` has no higher fence, and marks them with this one. Answers
    /// how many those were.
    ///
    /// `target` is what [`diesel::update`] takes, usually one row: `orders::table.find(7)`. Of several rows,
    /// those are changed that can be.
    ///
    /// # Errors
    ///
    /// `Lost` if no row was changed: a later holder has written, or there is no such row. `Unavailable` if the
    /// database refuses the statement.
    pub fn update<T, F, V, C, Q, W, S>(
        &self,
        target: T,
        column: F,
        changes: V,
        connection: &mut C,
    ) -> Result<usize>
    where
        C: Connection,
        F: Column<SqlType = BigInt> + Copy,
        T: FilterDsl<LtEq<F, i64>, Output = Q>,
        Q: HasTable<Table = F::Table> + IntoUpdateTarget<WhereClause = W>,
        F::Table: Table,
        (V, Eq<F, i64>): AsChangeset<Target = F::Table, Changeset = S>,
        UpdateStatement<F::Table, W, S>: AsQuery + ExecuteDsl<C>,
    {
        let target = target.filter(column.le(self.fence));
        let statement = diesel::update(target).set((changes, column.eq(self.fence)));
        passed(ExecuteDsl::execute(statement, connection))
    }

    /// Marks the rows of `target` and changes nothing else; as the first statement of a transaction, it lets
    /// the whole of it pass or not.
    ///
    /// # Errors
    ///
    /// As [`update`](Self::update).
    pub fn enter<T, F, C, Q, W, S>(&self, target: T, column: F, connection: &mut C) -> Result<usize>
    where
        C: Connection,
        F: Column<SqlType = BigInt> + Copy,
        T: FilterDsl<LtEq<F, i64>, Output = Q>,
        Q: HasTable<Table = F::Table> + IntoUpdateTarget<WhereClause = W>,
        F::Table: Table,
        Eq<F, i64>: AsChangeset<Target = F::Table, Changeset = S>,
        UpdateStatement<F::Table, W, S>: AsQuery + ExecuteDsl<C>,
    {
        let target = target.filter(column.le(self.fence));
        passed(ExecuteDsl::execute(diesel::update(target).set(column.eq(self.fence)), connection))
    }

    /// Deletes the rows of `target` whose `column` has no higher fence. Answers how many those were.
    ///
    /// What is deleted forgets its fence: an earlier holder can insert it again.
    ///
    /// # Errors
    ///
    /// As [`update`](Self::update).
    pub fn delete<T, F, C, Q, W>(&self, target: T, column: F, connection: &mut C) -> Result<usize>
    where
        C: Connection,
        F: Column<SqlType = BigInt> + Copy,
        T: FilterDsl<LtEq<F, i64>, Output = Q>,
        Q: HasTable<Table = F::Table> + IntoUpdateTarget<WhereClause = W>,
        F::Table: Table,
        DeleteStatement<F::Table, W>: ExecuteDsl<C>,
    {
        passed(ExecuteDsl::execute(diesel::delete(target.filter(column.le(self.fence))), connection))
    }

    /// The condition `column <= fence`, for statements of your own; they need [`mark`](Self::mark) too.
    #[must_use]
    pub fn admits<F: Column<SqlType = BigInt>>(&self, column: F) -> LtEq<F, i64> {
        column.le(self.fence)
    }

    /// The assignment `column = fence`, for statements of your own and for rows that are new.
    #[must_use]
    pub fn mark<F: Column<SqlType = BigInt>>(&self, column: F) -> Eq<F, i64> {
        column.eq(self.fence)
    }
}

fn passed(rows: QueryResult<usize>) -> Result<usize> {
    match rows {
        Ok(0) => Err(Error::lost(Cause::Superseded).with_source(
            "the write was refused: a later holder of the lock has written to the row, or there is no such row",
        )),
        Ok(rows) => Ok(rows),
        Err(source) => Err(Error::unavailable("the database refused a write").with_source(source)),
    }
}
