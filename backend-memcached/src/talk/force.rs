//! Taking a lock away.

use tenure_core::{Breaking, Holder, Name, Result};

use super::look::seen;
use super::{Heard, ROUNDS, Talk, Turn, no_memory, restless, store};
use crate::dialect::{Dialect, Now, Place};
use crate::record::{Record, State};
use crate::wire::{Answer, Answers, Request};

/// Looks who has it, and deletes the value or marks it as broken, if it is still that one.
pub(crate) struct Force<'a> {
    dialect: &'a Dialect,
    place: &'a Place,
    name: &'a Name,
    breaking: Breaking,
    reason: &'a str,
    step: Step,
    rounds: u32,
}

enum Step {
    Begin,
    Look,
    Delete(Holder),
    Mark(Holder, Vec<u8>, u64),
}

impl<'a> Force<'a> {
    pub(crate) fn new(
        dialect: &'a Dialect,
        place: &'a Place,
        name: &'a Name,
        breaking: Breaking,
        reason: &'a str,
    ) -> Self {
        Self { dialect, place, name, breaking, reason, step: Step::Begin, rounds: 0 }
    }

    fn begin(&mut self) -> Turn<Option<Holder>> {
        self.rounds += 1;
        if self.rounds > ROUNDS {
            return Turn::End(Err(restless()));
        }
        self.step = Step::Look;
        Turn::Ask(Request::default().get(self.place.key.as_bytes()))
    }

    fn is_there(&mut self, mut answers: Answers, now: Now) -> Result<Turn<Option<Holder>>> {
        let Some(item) = answers.take().item() else { return Ok(Turn::End(Ok(None))) };
        let Some((holder, record)) = seen(self.dialect, self.place, self.name, &item, now)? else {
            return Ok(Turn::End(Ok(None)));
        };
        let key = self.place.key.as_bytes();
        match (self.breaking, record.state) {
            (Breaking::Safe, State::Broken) => Ok(Turn::End(Ok(Some(holder)))),
            (Breaking::Safe, State::Held) => {
                // Written for as long as its lease at most, and by its number with a fence of its own.
                let form = self.dialect.form;
                let broken = Record {
                    state: State::Broken,
                    fence: None,
                    written: now.wall,
                    reason: self.reason.into(),
                    ttl: Some(record.ttl.or(holder.remaining()).unwrap_or_default()),
                    ..record
                };
                let value = form.write(&broken);
                let put = store(self.place, form.flags(), &broken, &value);
                let request = Request::default().swap(&put, item.cas).get(key).read_at(answers.sent);
                self.step = Step::Mark(holder, value, item.cas);
                Ok(Turn::Ask(request))
            }
            _ => {
                self.step = Step::Delete(holder);
                Ok(Turn::Ask(Request::default().delete(key, item.cas).read_at(answers.sent)))
            }
        }
    }
}

impl Talk for Force<'_> {
    type End = Option<Holder>;

    fn server(&self) -> usize {
        self.place.server
    }

    fn turn(&mut self, heard: Heard, now: Now) -> Turn<Option<Holder>> {
        let step = std::mem::replace(&mut self.step, Step::Begin);
        let next = match (step, heard) {
            (Step::Look, Heard::Answers(answers)) => self.is_there(answers, now),
            (Step::Delete(holder), Heard::Answers(mut answers)) => match answers.take() {
                // Another has it by now.
                Answer::Another => Ok(self.begin()),
                _ => Ok(Turn::End(Ok(Some(holder)))),
            },
            (Step::Mark(holder, value, cas), Heard::Answers(mut answers)) => match answers.take().item() {
                Some(item) if item.value == value => Ok(Turn::End(Ok(Some(holder)))),
                Some(item) if item.cas == cas => Err(no_memory()),
                _ => Ok(self.begin()),
            },
            _ => Ok(self.begin()),
        };
        next.unwrap_or_else(|error| Turn::End(Err(error)))
    }
}
