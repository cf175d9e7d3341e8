//! The raw client, which says what the store says.

use diesel::connection::SimpleConnection;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{BigInt, Binary, Nullable, Text, Untyped};
use diesel::{
    Connection, MysqlConnection, PgConnection, QueryResult, QueryableByName, RunQueryDsl, SqliteConnection,
};

/// A statement and its values.
pub(crate) struct Raw {
    /// The text, cut where values go.
    parts: Vec<String>,
    values: Vec<Value>,
    /// Whether it has rows to return.
    answers: bool,
}

#[derive(Debug)]
pub(crate) enum Value {
    Absent,
    Bytes(Vec<u8>),
    Number(i64),
    Text(String),
}

/// A plain connection.
pub(crate) enum Link {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
    MariaDb(MysqlConnection),
}

/// A row of an answer.
#[derive(QueryableByName)]
struct Answer {
    #[diesel(sql_type = BigInt)]
    code: i64,
    #[diesel(sql_type = BigInt)]
    #[allow(dead_code, reason = "read, as the store does")]
    fence: i64,
    #[diesel(sql_type = BigInt)]
    #[allow(dead_code, reason = "read, as the store does")]
    remaining: i64,
    #[diesel(sql_type = BigInt)]
    #[allow(dead_code, reason = "read, as the store does")]
    awaited: i64,
}

macro_rules! said {
    ($raw:ident, $link:ident) => {
        match $raw.answers {
            true => $raw.load($link).map(|rows: Vec<Answer>| (rows.first().map(|row| row.code), rows.len())),
            false => $raw.execute($link).map(|rows| (None, rows)),
        }
    };
}

impl Raw {
    /// Values go where the text has `?` or `$1` and so on; the store's statements have neither otherwise.
    pub(crate) fn new(sql: &str, values: Vec<Value>) -> Self {
        let places = sql.split(['?', '$']);
        let parts = places.enumerate().map(|(place, part)| match place {
            0 => part.to_owned(),
            _ => part.trim_start_matches(|digit: char| digit.is_ascii_digit() && sql.contains('$')).into(),
        });
        let parts: Vec<String> = parts.collect();
        assert_eq!(parts.len(), values.len() + 1, "{sql}");
        Self { parts, values, answers: sql.starts_with("SELECT") || sql.contains(" RETURNING ") }
    }
}

impl Link {
    pub(crate) fn sqlite(path: &str) -> Self {
        let mut link = SqliteConnection::establish(path).unwrap();
        link.batch_execute("PRAGMA synchronous = NORMAL; PRAGMA busy_timeout = 0").unwrap();
        Self::Sqlite(link)
    }

    pub(crate) fn postgres(url: &str) -> Self {
        let mut link = PgConnection::establish(url).unwrap();
        link.batch_execute("SET statement_timeout = 2000; SET lock_timeout = 1000").unwrap();
        Self::Postgres(link)
    }

    pub(crate) fn mariadb(url: &str) -> Self {
        let mut link = MysqlConnection::establish(url).unwrap();
        link.batch_execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED").unwrap();
        link.batch_execute("SET time_zone = '+00:00', max_statement_time = 2").unwrap();
        Self::MariaDb(link)
    }

    /// Carries out a statement: the code of the row that it returns, if any, and how many rows it changed.
    fn say(&mut self, raw: &Raw) -> (Option<i64>, usize) {
        let said = match self {
            Self::Sqlite(link) => said!(raw, link),
            Self::Postgres(link) => said!(raw, link),
            Self::MariaDb(link) => said!(raw, link),
        };
        said.unwrap()
    }

    /// Carries out statements in turn, of which the last to answer must answer this, or change a row.
    pub(crate) fn all(&mut self, statements: &[Raw], expected: i64) {
        let answers = statements.iter().map(|raw| self.say(raw)).collect::<Vec<_>>();
        let code = answers.iter().rev().find_map(|(code, _)| *code);
        assert_eq!(code.unwrap_or_else(|| i64::from(answers.iter().any(|(_, rows)| *rows > 0))), expected);
    }
}

impl Query for &Raw {
    type SqlType = Untyped;
}

impl QueryId for &Raw {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

macro_rules! for_backends {
    ($($backend:ty, $connection:ty;)*) => {$(
        impl QueryFragment<$backend> for &Raw {
            // Kept prepared, as the store's are.
            fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, $backend>) -> QueryResult<()> {
                for (part, value) in self.parts.iter().zip(&self.values) {
                    out.push_sql(part);
                    match value {
                        Value::Absent => out.push_bind_param::<Nullable<Binary>, _>(&None::<Vec<u8>>)?,
                        Value::Bytes(bytes) => out.push_bind_param::<Binary, _>(bytes)?,
                        Value::Number(number) => out.push_bind_param::<BigInt, _>(number)?,
                        Value::Text(text) => out.push_bind_param::<Text, _>(text)?,
                    }
                }
                out.push_sql(self.parts.last().map_or("", String::as_str));
                Ok(())
            }
        }

        impl RunQueryDsl<$connection> for &Raw {}
    )*};
}

for_backends! {
    diesel::sqlite::Sqlite, SqliteConnection;
    diesel::pg::Pg, PgConnection;
    diesel::mysql::Mysql, MysqlConnection;
}
