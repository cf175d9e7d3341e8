//! What is asked of the database, statement after statement, until one of them has the answer.

use diesel::result::QueryResult;

use crate::answer::Answer;
use crate::link::Link;
use crate::statement::{Statement, Text, Values};

/// One statement, and what is made of what it answers.
#[derive(Debug)]
pub(crate) enum Step {
    /// The row that it returns is the answer, unless it is [stale](Answer::is_stale).
    Ask(Text),
    /// It is done if it changed a row.
    Count(Text),
    /// It locks the row that the rest is about; if there is none, nothing has it to itself, and the course ends
    /// without an answer.
    Lock(Text),
    /// What it says is not the answer.
    Do(Text),
}

/// Statements, each of which is carried out on its own, at once and for good.
pub(crate) type Course = Vec<Step>;

/// Follows a course to its answer; nothing if it has none.
pub(crate) fn follow(link: &mut dyn Link, course: &[Step], values: &Values) -> QueryResult<Option<Answer>> {
    let mut last = None;
    for step in course {
        match step {
            Step::Ask(text) => {
                let answer = link.ask(Statement::new(text, values))?.into_iter().next();
                last = answer.or(last);
                if answer.is_some_and(|answer| !answer.is_stale()) {
                    return Ok(answer);
                }
            }
            Step::Count(text) => {
                if link.act(Statement::new(text, values))? > 0 {
                    return Ok(Some(Answer::COUNTED));
                }
            }
            Step::Lock(text) => {
                if link.act(Statement::new(text, values))? == 0 {
                    return Ok(None);
                }
            }
            Step::Do(text) => drop(link.act(Statement::new(text, values))?),
        }
    }
    Ok(last)
}

/// The same in a transaction, so that nobody sees a part of it.
pub(crate) fn follow_together(
    link: &mut dyn Link,
    begin: &str,
    course: &[Step],
    values: &Values,
) -> QueryResult<Option<Answer>> {
    link.begin(begin)?;
    let done = follow(link, course, values).and_then(|answer| link.end(true).map(|()| answer));
    if done.is_err() {
        let _ = link.end(false);
    }
    done
}
