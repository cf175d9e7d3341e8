//! Undoing what a claim may have left behind.

use std::time::Duration;

use tenure_core::Owner;

use super::{Heard, Talk, Turn};
use crate::dialect::{Dialect, Now, Place};
use crate::wire::Request;

/// Deletes what an owner has, whatever it is; false if it has nothing.
pub(crate) struct Abandon<'a> {
    dialect: &'a Dialect,
    place: &'a Place,
    owner: Owner,
    step: Step,
}

#[derive(Clone, Copy)]
enum Step {
    Begin,
    Look,
    Delete,
}

impl<'a> Abandon<'a> {
    /// How long before a second look, if the first one found nothing: what the claim asked for on a connection that
    /// was closed may be carried out after that, by another thread of the server.
    pub(crate) const AGAIN: Duration = Duration::from_millis(30);

    pub(crate) fn new(dialect: &'a Dialect, place: &'a Place, owner: Owner) -> Self {
        Self { dialect, place, owner, step: Step::Begin }
    }
}

impl Talk for Abandon<'_> {
    type End = bool;

    fn server(&self) -> usize {
        self.place.server
    }

    fn turn(&mut self, heard: Heard, _: Now) -> Turn<bool> {
        let key = self.place.key.as_bytes();
        match (self.step, heard) {
            (Step::Look, Heard::Answers(mut answers)) => {
                let item = answers.take().item();
                let own = item.filter(|item| self.dialect.form.read(item).owner == Some(self.owner));
                match own {
                    Some(item) => {
                        self.step = Step::Delete;
                        Turn::Ask(Request::default().delete(key, item.cas).read_at(answers.sent))
                    }
                    None => Turn::End(Ok(false)),
                }
            }
            (Step::Delete, Heard::Answers(_)) => Turn::End(Ok(true)),
            _ => {
                self.step = Step::Look;
                Turn::Ask(Request::default().get(key))
            }
        }
    }
}
