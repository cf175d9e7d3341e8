//! One statement that renews many locks.

use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::result::QueryResult;
use diesel::sql_types::{BigInt, Binary, Untyped};

use crate::dialect::Kind;
use crate::statement::Values;
use crate::table::Table;

/// How many locks one statement renews at most; SQLite takes 32 766 values.
pub(crate) const MOST: usize = 1000;

/// The text around the locks that are renewed.
#[derive(Debug)]
pub(crate) struct Renewing {
    kind: Kind,
    before: String,
    after: String,
}

impl Renewing {
    pub(crate) fn new(kind: Kind, table: &Table, now: &str) -> Self {
        let (before, after) = match kind {
            Kind::Sqlite => (
                "UPDATE tenure_lock SET ends = v.ttl + m.now FROM (SELECT column1 AS name, column2 AS token, \
                 column3 AS ttl FROM (VALUES ",
                ")) AS v, m WHERE tenure_lock.name = v.name AND tenure_lock.token = v.token AND tenure_lock.ends > m.now \
                 AND tenure_lock.boot = m.boot",
            ),
            Kind::Postgres => (
                "UPDATE tenure_lock AS t SET ends = {now} + v.ttl FROM (VALUES ",
                ") AS v (name, token, ttl) WHERE t.name = v.name AND t.token = v.token AND t.ends > {now}",
            ),
            Kind::MariaDb | Kind::MySql => (
                "UPDATE tenure_lock AS t JOIN (",
                ") AS v ON t.name = v.name SET t.ends = {now} + v.ttl WHERE t.token = v.token AND t.ends > {now}",
            ),
        };
        let text = |sql: &str| table.in_place(sql).replace("{now}", now);
        Self { kind, before: text(before), after: text(after) }
    }

    /// What comes before the values of a lock, by its place, and after them.
    fn around(&self, place: usize) -> (&'static str, &'static str) {
        match (self.kind, place) {
            (Kind::MariaDb | Kind::MySql, 0) => ("SELECT CAST(", ""),
            (Kind::MariaDb | Kind::MySql, _) => (" UNION ALL SELECT CAST(", ""),
            (_, 0) => ("(", ")"),
            _ => (", (", ")"),
        }
    }

    /// What comes after each of the values of a lock. MariaDB and MySQL are told with those of the first what
    /// they are called, and with all that they are bytes: a client for tasks does not say so, and those that are
    /// no text would be refused.
    fn called(&self, place: usize) -> [&'static str; 3] {
        match (self.kind, place) {
            (Kind::MariaDb | Kind::MySql, 0) => {
                [" AS BINARY) AS name, CAST(", " AS BINARY) AS token, ", " AS ttl"]
            }
            (Kind::MariaDb | Kind::MySql, _) => [" AS BINARY), CAST(", " AS BINARY), ", ""],
            _ => [", ", ", ", ""],
        }
    }
}

/// Renews locks, each by its name, its token and its lifetime; as many rows are changed as were renewed.
#[derive(Debug)]
pub(crate) struct Batch<'a> {
    text: &'a Renewing,
    all: &'a [Values],
}

impl<'a> Batch<'a> {
    pub(crate) fn new(text: &'a Renewing, all: &'a [Values]) -> Self {
        Self { text, all }
    }
}

impl Query for Batch<'_> {
    type SqlType = Untyped;
}

impl QueryId for Batch<'_> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

macro_rules! for_backends {
    ($($(#[$feature:meta])* $backend:ty, $connection:ty;)*) => {$(
        $(#[$feature])*
        impl QueryFragment<$backend> for Batch<'_> {
            fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, $backend>) -> QueryResult<()> {
                // Each number of locks is another text.
                out.unsafe_to_cache_prepared();
                if let (Kind::Sqlite, Some(first)) = (self.text.kind, self.all.first()) {
                    out.push_sql("WITH m (now, boot) AS (VALUES (");
                    out.push_bind_param::<BigInt, _>(&first.now)?;
                    out.push_sql(", ");
                    out.push_bind_param::<Binary, _>(&first.boot)?;
                    out.push_sql(")) ");
                }
                out.push_sql(&self.text.before);
                for (place, values) in self.all.iter().enumerate() {
                    let ((open, close), [name, token, ttl]) = (self.text.around(place), self.text.called(place));
                    out.push_sql(open);
                    out.push_bind_param::<Binary, _>(&values.name)?;
                    out.push_sql(name);
                    out.push_bind_param::<Binary, _>(&values.token)?;
                    out.push_sql(token);
                    out.push_bind_param::<BigInt, _>(&values.ttl)?;
                    out.push_sql(ttl);
                    out.push_sql(close);
                }
                out.push_sql(&self.text.after);
                Ok(())
            }
        }

        $(#[$feature])*
        impl diesel::RunQueryDsl<$connection> for Batch<'_> {}
    )*};
}

for_backends! {
    #[cfg(feature = "sqlite")] diesel::sqlite::Sqlite, diesel::SqliteConnection;
    #[cfg(feature = "postgres")] diesel::pg::Pg, diesel::PgConnection;
    #[cfg(feature = "mysql")] diesel::mysql::Mysql, diesel::MysqlConnection;
}
