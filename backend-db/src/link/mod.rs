//! Connections: ours, and those that a caller lends.

#[cfg(feature = "sqlite")]
pub(crate) mod local;
#[cfg(feature = "mysql")]
pub(crate) mod mysql;
#[cfg(feature = "postgres")]
pub(crate) mod postgres;
#[cfg(feature = "sqlite")]
pub(crate) mod sqlite;

use diesel::RunQueryDsl;
use diesel::connection::SimpleConnection;
use diesel::result::QueryResult;

use crate::answer::{Answer, Seen, Word};
use crate::batch::Batch;
use crate::statement::Statement;

/// A connection that carries out statements.
pub(crate) trait Link {
    /// The rows of a statement about one lock.
    fn ask(&mut self, statement: Statement<'_>) -> QueryResult<Vec<Answer>>;
    /// The locks that a statement sees.
    fn look(&mut self, statement: Statement<'_>) -> QueryResult<Vec<Seen>>;
    /// How many rows a statement changed.
    fn act(&mut self, statement: Statement<'_>) -> QueryResult<usize>;
    /// How many locks a statement renewed.
    fn renew(&mut self, batch: Batch<'_>) -> QueryResult<usize>;
    /// What a question without values is answered: a text in each row.
    fn words(&mut self, question: &str) -> QueryResult<Vec<Word>>;
    /// Carries out statements without values.
    fn run(&mut self, statements: &str) -> QueryResult<()>;
    /// Whether the server keeps one session for this connection alone.
    #[cfg(any(feature = "postgres", feature = "mysql"))]
    fn is_alone(&self) -> bool {
        true
    }
    /// Begins a transaction.
    fn begin(&mut self, begin: &str) -> QueryResult<()> {
        self.run(begin)
    }
    /// Ends a transaction, for good or as if nothing had been said in it.
    fn end(&mut self, good: bool) -> QueryResult<()> {
        self.run(if good { "COMMIT" } else { "ROLLBACK" })
    }
    /// Which port of this host the server sees it come from, if any.
    fn port(&mut self) -> Option<u16>;
}

macro_rules! links {
    ($($(#[$feature:meta])* $connection:ty, $port:expr;)*) => {$(
        $(#[$feature])*
        impl Link for $connection {
            fn ask(&mut self, statement: Statement<'_>) -> QueryResult<Vec<Answer>> {
                statement.load(self)
            }

            fn look(&mut self, statement: Statement<'_>) -> QueryResult<Vec<Seen>> {
                statement.load(self)
            }

            fn act(&mut self, statement: Statement<'_>) -> QueryResult<usize> {
                statement.execute(self)
            }

            fn renew(&mut self, batch: Batch<'_>) -> QueryResult<usize> {
                batch.execute(self)
            }

            fn words(&mut self, question: &str) -> QueryResult<Vec<Word>> {
                diesel::sql_query(question).load(self)
            }

            fn run(&mut self, statements: &str) -> QueryResult<()> {
                self.batch_execute(statements)
            }

            fn port(&mut self) -> Option<u16> {
                let question: Option<&str> = $port;
                self.words(question?).ok()?.into_iter().next()?.word?.parse().ok()
            }
        }
    )*};
}

links! {
    #[cfg(feature = "sqlite")] diesel::SqliteConnection, None;
    #[cfg(feature = "postgres")] diesel::PgConnection, Some("SELECT inet_client_port()::text AS word");
    #[cfg(feature = "mysql")] diesel::MysqlConnection, Some(
        "SELECT SUBSTRING_INDEX(HOST, ':', -1) AS word FROM information_schema.PROCESSLIST WHERE ID = CONNECTION_ID()"
    );
}
