//! What is asked on a connection.

use std::sync::Arc;

use diesel::result::QueryResult;
use tenure_core::Mode;

use super::link::Link;
use super::pool::Request;
use crate::answer::{Answer, Seen};
use crate::batch::Batch;
use crate::course::Course;
use crate::dialect::{Deed, Dialect};
use crate::statement::{Statement, Text, Values};

/// Which of the things that are said to a database.
pub(super) type Pick<T> = fn(&Dialect) -> &T;

/// Follows a course to its answer.
pub(super) struct Follow {
    pub(super) dialect: Arc<Dialect>,
    pub(super) course: Pick<Course>,
    /// Whether it is said together.
    pub(super) together: bool,
    pub(super) values: Values,
}

impl Request for Follow {
    type Answer = Option<Answer>;

    async fn ask(&mut self, link: &mut Link) -> QueryResult<Option<Answer>> {
        let begin = self.together.then_some(self.dialect.shares.begin);
        link.follow_in((self.course)(&self.dialect), begin, &self.values).await
    }
}

/// Does something with a claim.
pub(super) struct Do {
    pub(super) dialect: Arc<Dialect>,
    pub(super) mode: Mode,
    pub(super) deed: Deed,
    pub(super) values: Values,
}

impl Request for Do {
    type Answer = Option<Answer>;

    async fn ask(&mut self, link: &mut Link) -> QueryResult<Option<Answer>> {
        let (course, begin) = self.dialect.course(self.mode, self.deed);
        link.follow_in(course, begin, &self.values).await
    }
}

/// Sees locks.
pub(super) struct Look {
    pub(super) dialect: Arc<Dialect>,
    pub(super) text: Pick<Text>,
    pub(super) values: Values,
}

impl Request for Look {
    type Answer = Vec<Seen>;

    async fn ask(&mut self, link: &mut Link) -> QueryResult<Vec<Seen>> {
        link.look(Statement::new((self.text)(&self.dialect), &self.values)).await
    }
}

/// Renews many locks.
pub(super) struct Renew {
    pub(super) dialect: Arc<Dialect>,
    pub(super) all: Vec<Values>,
}

impl Request for Renew {
    type Answer = usize;

    async fn ask(&mut self, link: &mut Link) -> QueryResult<usize> {
        link.renew(Batch::new(&self.dialect.renewing, &self.all)).await
    }
}

/// Changes rows.
pub(super) struct Act {
    pub(super) dialect: Arc<Dialect>,
    pub(super) text: Pick<Text>,
    pub(super) values: Values,
}

impl Request for Act {
    type Answer = usize;

    async fn ask(&mut self, link: &mut Link) -> QueryResult<usize> {
        link.act(Statement::new((self.text)(&self.dialect), &self.values)).await
    }
}

/// Asks something about the database itself.
pub(super) struct Question(pub(super) String);

impl Request for Question {
    type Answer = Option<String>;

    async fn ask(&mut self, link: &mut Link) -> QueryResult<Option<String>> {
        Ok(link.words(&self.0).await?.into_iter().next().and_then(|found| found.word))
    }
}

/// Tells whoever listens.
pub(super) struct Tell {
    pub(super) dialect: Arc<Dialect>,
    pub(super) values: Values,
}

impl Request for Tell {
    type Answer = ();

    async fn ask(&mut self, link: &mut Link) -> QueryResult<()> {
        match &self.dialect.wake {
            Some(text) => link.act(Statement::new(text, &self.values)).await.map(drop),
            None => Ok(()),
        }
    }
}

/// Asks for the version of the tables.
pub(super) struct Version(pub(super) Text);

impl Request for Version {
    type Answer = i64;

    async fn ask(&mut self, link: &mut Link) -> QueryResult<i64> {
        let rows = link.ask(Statement::new(&self.0, &Values::default()).kept(false)).await?;
        Ok(rows.first().map_or(0, |row| row.code))
    }
}

/// Makes tables.
pub(super) struct Run(pub(super) String);

impl Request for Run {
    type Answer = ();

    async fn ask(&mut self, link: &mut Link) -> QueryResult<()> {
        link.run(&self.0).await
    }
}
