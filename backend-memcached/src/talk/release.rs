//! Ending a grant.

use std::time::Duration;

use tenure_core::{Cause, Claim, Error, Release, Result};

use super::{Grant, Heard, ROUNDS, Talk, Turn, no_memory, restless, store};
use crate::dialect::{Dialect, Now, Place};
use crate::record::{Record, State};
use crate::wire::{Answer, Answers, Request};

/// One release: delete our value if it has the number that we know, and look only if it has another.
pub(crate) struct End<'a> {
    dialect: &'a Dialect,
    place: &'a Place,
    claim: &'a Claim,
    grant: &'a Grant,
    keep: Option<Duration>,
    step: Step,
    /// Whether a request that freed it may have been carried out without an answer.
    resent: bool,
    /// Whether it was over when it was asked for.
    late: bool,
    rounds: u32,
}

enum Step {
    Begin,
    Delete,
    Look,
    Keep(Vec<u8>),
    /// Letting go of what was broken.
    Acknowledge,
}

impl<'a> End<'a> {
    pub(crate) fn new(dialect: &'a Dialect, place: &'a Place, end: Release<'a, Grant>) -> Self {
        let (claim, grant, keep) = (end.claim(), end.grant(), end.keep());
        Self { dialect, place, claim, grant, keep, step: Step::Begin, resent: false, late: false, rounds: 0 }
    }

    fn begin(&mut self, now: Now) -> Turn<()> {
        self.rounds += 1;
        if self.rounds > ROUNDS {
            return Turn::End(Err(restless()));
        }
        self.late |= self.grant.is_over(now.moment);
        let (key, cas) = (self.place.key.as_bytes(), self.grant.cas());
        let Some(keep) = self.keep.filter(|_| !self.late) else {
            self.step = Step::Delete;
            return Turn::Ask(Request::default().delete(key, cas).read_at(self.grant.read()));
        };
        let record = Record {
            ttl: Some(keep),
            base: self.grant.base,
            written: now.wall,
            since: self.grant.since,
            label: self.claim.label().into(),
            key: self.place.whole.clone(),
            ..Record::new(State::Kept)
        };
        let form = self.dialect.form;
        let value = form.write(&record);
        let request =
            Request::default().swap(&store(self.place, form.flags(), &record, &value), cas).get(key);
        self.step = Step::Keep(value);
        Turn::Ask(request.read_at(self.grant.read()))
    }

    /// It is free, or was not ours any more.
    fn over(&self) -> Result<Turn<()>> {
        match self.late {
            true => Err(Error::lost(Cause::Expired)),
            false => Ok(Turn::End(Ok(()))),
        }
    }

    fn deleted(&mut self, answer: &Answer) -> Result<Turn<()>> {
        match answer {
            Answer::Done => self.over(),
            Answer::Nothing if self.resent => self.over(),
            Answer::Nothing => Err(Error::lost(Cause::Superseded)),
            _ => Ok(self.look()),
        }
    }

    fn look(&mut self) -> Turn<()> {
        self.step = Step::Look;
        Turn::Ask(Request::default().get(self.place.key.as_bytes()))
    }

    fn is_there(&mut self, mut answers: Answers, kept: Option<&[u8]>, now: Now) -> Result<Turn<()>> {
        let lost = || match self.resent {
            true => Ok(Turn::End(Ok(()))),
            false => Err(Error::lost(Cause::Superseded)),
        };
        let Some(item) = answers.take().item() else { return lost() };
        if kept.is_some_and(|kept| item.value == kept) {
            return self.over();
        }
        let record = self.dialect.read(self.place, &item)?;
        if record.owner != Some(self.claim.owner()) {
            return lost();
        }
        match record.state {
            State::Broken => {
                self.step = Step::Acknowledge;
                let delete = Request::default().delete(self.place.key.as_bytes(), item.cas);
                Ok(Turn::Ask(delete.read_at(answers.sent)))
            }
            _ if kept.is_some() && item.cas == self.grant.cas() => Err(no_memory()),
            // It was renewed, and the answer got lost or is under way.
            _ if !self.late => {
                self.grant.is_now(item.cas, answers.sent);
                Ok(self.begin(now))
            }
            // Somebody who restored it goes on with it.
            _ => Err(Error::lost(Cause::Expired)),
        }
    }
}

impl Talk for End<'_> {
    type End = ();

    fn server(&self) -> usize {
        self.place.server
    }

    fn turn(&mut self, heard: Heard, now: Now) -> Turn<()> {
        let step = std::mem::replace(&mut self.step, Step::Begin);
        if let Heard::Answers(Answers { resent, .. }) | Heard::Stale { resent } = &heard {
            self.resent |= resent;
        }
        let next = match (step, heard) {
            (Step::Delete, Heard::Answers(mut answers)) => self.deleted(&answers.take()),
            (Step::Look, Heard::Answers(answers)) => self.is_there(answers, None, now),
            (Step::Keep(value), Heard::Answers(answers)) => self.is_there(answers, Some(&value), now),
            (_, Heard::Stale { .. }) => Ok(self.look()),
            (Step::Acknowledge, Heard::Answers(_)) => Err(Error::lost(Cause::Forced)),
            _ => Ok(self.begin(now)),
        };
        next.unwrap_or_else(|error| Turn::End(Err(error)))
    }
}
