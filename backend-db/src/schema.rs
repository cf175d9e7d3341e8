//! The tables: making them, and telling their version.
//!
//! The same files are migrations for `diesel migration run --migration-dir`, and plain SQL for everybody
//! else: `migrations/` beside the source of this crate, and [`schema_sql`].

use diesel::result::QueryResult;
use tenure_core::{Error, Result};

use crate::dialect::Kind;
use crate::link::Link;
use crate::statement::{Statement, Text, Values};
use crate::table::Table;

/// The version of the tables that this library makes and uses.
pub(crate) const VERSION: i64 = 1;

/// The statements that make the tables, for a database that this library may not make them in itself: of
/// `"sqlite"`, `"postgres"` or `"mysql"`, for a table of this name.
///
/// # Errors
///
/// `Misconfigured` for another database, or a table that cannot be called so.
pub fn schema_sql(database: &str, table: &str) -> Result<String> {
    let kind = match database {
        "sqlite" => Kind::Sqlite,
        "postgres" => Kind::Postgres,
        "mysql" => Kind::MySql,
        _ => return Err(Error::misconfigured("write \"sqlite\", \"postgres\" or \"mysql\"")),
    };
    Ok(statements(kind, &Table::new(table)?))
}

macro_rules! up {
    ($kind:literal) => {
        include_str!(concat!("../migrations/", $kind, "/2026-11-26-000000_tenure_lock/up.sql"))
    };
}

/// The statements that make the tables, if they are not there.
pub(crate) fn statements(kind: Kind, table: &Table) -> String {
    table.in_place(match kind {
        Kind::Sqlite => up!("sqlite"),
        Kind::Postgres => up!("postgres"),
        Kind::MariaDb | Kind::MySql => up!("mysql"),
    })
}

/// The version of the tables, if all are there.
pub(crate) fn version(link: &mut dyn Link, table: &Table) -> QueryResult<i64> {
    let rows = link.ask(Statement::new(&version_text(table), &Values::default()).kept(false))?;
    Ok(rows.first().map_or(0, |row| row.code))
}

/// What is asked for it.
pub(crate) fn version_text(table: &Table) -> Text {
    let text = "SELECT version AS code, last_fence AS fence, id AS remaining, id AS awaited \
                FROM tenure_lock_meta LEFT JOIN tenure_lock ON name = :name";
    Text::new(&table.in_place(text))
}

/// Refuses tables of a version that this library does not know.
///
/// # Errors
///
/// `Misconfigured` if they are newer.
pub(crate) fn check(version: i64, table: &Table) -> Result<()> {
    if version > VERSION {
        return Err(Error::misconfigured(format!(
            "the table {} has version {version}, and this library knows versions up to {VERSION}; use a newer \
             tenure in this program, or another table",
            table.full()
        )));
    }
    Ok(())
}
