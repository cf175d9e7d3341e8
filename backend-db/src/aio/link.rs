//! Connections for tasks.

use diesel::result::QueryResult;
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};

use crate::answer::{Answer, Seen, Word};
use crate::batch::Batch;
use crate::course::Step;
use crate::statement::{Statement, Values};

/// A connection that carries out statements; it is used by one request at a time.
pub(crate) enum Link {
    #[cfg(feature = "postgres")]
    Postgres(Box<diesel_async::AsyncPgConnection>),
    #[cfg(feature = "mysql")]
    MySql(Box<diesel_async::AsyncMysqlConnection>),
}

/// Does the same on any connection.
macro_rules! on {
    ($link:expr, $connection:ident => $act:expr) => {
        match $link {
            #[cfg(feature = "postgres")]
            Link::Postgres($connection) => {
                let $connection = &mut **$connection;
                $act
            }
            #[cfg(feature = "mysql")]
            Link::MySql($connection) => {
                let $connection = &mut **$connection;
                $act
            }
        }
    };
}

impl Link {
    /// The rows of a statement about one lock.
    pub(crate) async fn ask(&mut self, statement: Statement<'_>) -> QueryResult<Vec<Answer>> {
        on!(self, connection => statement.load(connection).await)
    }

    /// The locks that a statement sees.
    pub(crate) async fn look(&mut self, statement: Statement<'_>) -> QueryResult<Vec<Seen>> {
        on!(self, connection => statement.load(connection).await)
    }

    /// How many rows a statement changed.
    pub(crate) async fn act(&mut self, statement: Statement<'_>) -> QueryResult<usize> {
        on!(self, connection => statement.execute(connection).await)
    }

    /// How many locks a statement renewed.
    pub(crate) async fn renew(&mut self, batch: Batch<'_>) -> QueryResult<usize> {
        on!(self, connection => batch.execute(connection).await)
    }

    /// What a question without values is answered: a text in each row.
    pub(crate) async fn words(&mut self, question: &str) -> QueryResult<Vec<Word>> {
        on!(self, connection => diesel::sql_query(question).load(connection).await)
    }

    /// Carries out statements without values.
    pub(crate) async fn run(&mut self, statements: &str) -> QueryResult<()> {
        on!(self, connection => connection.batch_execute(statements).await)
    }

    /// Follows a course in a transaction, if there is something that begins one.
    pub(crate) async fn follow_in(
        &mut self,
        course: &[Step],
        begin: Option<&str>,
        values: &Values,
    ) -> QueryResult<Option<Answer>> {
        let Some(begin) = begin else { return self.follow(course, values).await };
        self.run(begin).await?;
        let mut done = self.follow(course, values).await;
        if done.is_ok()
            && let Err(error) = self.run("COMMIT").await
        {
            done = Err(error);
        }
        if done.is_err() {
            let _ = self.run("ROLLBACK").await;
        }
        done
    }

    /// Follows a course to its answer, as [`follow`](crate::course::follow) does for threads.
    pub(crate) async fn follow(&mut self, course: &[Step], values: &Values) -> QueryResult<Option<Answer>> {
        let mut last = None;
        for step in course {
            match step {
                Step::Ask(text) => {
                    let answer = self.ask(Statement::new(text, values)).await?.into_iter().next();
                    last = answer.or(last);
                    if answer.is_some_and(|answer| !answer.is_stale()) {
                        return Ok(answer);
                    }
                }
                Step::Count(text) => {
                    if self.act(Statement::new(text, values)).await? > 0 {
                        return Ok(Some(Answer::COUNTED));
                    }
                }
                Step::Lock(text) => {
                    if self.act(Statement::new(text, values)).await? == 0 {
                        return Ok(None);
                    }
                }
                Step::Do(text) => drop(self.act(Statement::new(text, values)).await?),
            }
        }
        Ok(last)
    }
}
