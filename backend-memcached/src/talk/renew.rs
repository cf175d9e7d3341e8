//! Renewing a grant, and seeing whether it stands.

use std::time::Duration;

use tenure_core::{Cause, Claim, Error, Renewal, Result};

use super::{Grant, Heard, ROUNDS, Talk, Turn, no_memory, restless, store};
use crate::dialect::{Dialect, Now, Place};
use crate::record::{LONGEST, Record, State};
use crate::wire::{Answers, Request};

/// One renewal: put a new value in place of ours, read what is there.
pub(crate) struct Renew<'a> {
    dialect: &'a Dialect,
    place: &'a Place,
    claim: &'a Claim,
    grant: &'a Grant,
    ttl: Duration,
    step: Step,
    rounds: u32,
}

enum Step {
    Begin,
    Look,
    Put(Vec<u8>),
}

impl<'a> Renew<'a> {
    pub(crate) fn new(dialect: &'a Dialect, place: &'a Place, due: Renewal<'a, Grant>) -> Self {
        let (claim, grant, ttl) = (due.claim(), due.grant(), due.ttl());
        Self { dialect, place, claim, grant, ttl, step: Step::Begin, rounds: 0 }
    }

    fn begin(&mut self, now: Now) -> Turn<()> {
        self.rounds += 1;
        if self.rounds > ROUNDS {
            return Turn::End(Err(restless()));
        }
        if self.grant.is_over(now.moment) {
            return Turn::End(Err(Error::lost(Cause::Expired)));
        }
        let key = self.place.key.as_bytes();
        if self.ttl == Duration::MAX {
            return self.look();
        }
        let record = held(self.claim, self.grant, self.place, self.ttl.min(LONGEST), now);
        let form = self.dialect.form;
        let value = form.write(&record);
        let put = store(self.place, form.flags(), &record, &value);
        let request = Request::default().swap(&put, self.grant.cas()).get(key).read_at(self.grant.read());
        self.step = Step::Put(value);
        Turn::Ask(request)
    }

    fn look(&mut self) -> Turn<()> {
        self.step = Step::Look;
        Turn::Ask(Request::default().get(self.place.key.as_bytes()))
    }

    fn is_there(&mut self, mut answers: Answers, value: Option<&[u8]>, now: Now) -> Result<Turn<()>> {
        let Some(item) = answers.take().item() else { return Err(Error::lost(Cause::Superseded)) };
        let record = self.dialect.read(self.place, &item)?;
        let own = record.owner == Some(self.claim.owner());
        match record.state {
            State::Broken if own => Err(Error::lost(Cause::Forced)),
            State::Held if own => {
                let before = self.grant.cas();
                self.grant.is_now(item.cas, answers.sent);
                match value {
                    None if self.ttl == Duration::MAX => Ok(Turn::End(Ok(()))),
                    None => Ok(self.begin(now)),
                    // Where values are tokens alone they are all alike, and only the number tells.
                    Some(value) if item.value == value && item.cas != before => {
                        self.grant.ends_at(now.moment + self.ttl);
                        Ok(Turn::End(Ok(())))
                    }
                    Some(_) if item.cas == before => Err(no_memory()),
                    // It was renewed before, and the answer got lost.
                    Some(_) => Ok(self.begin(now)),
                }
            }
            _ => Err(Error::lost(Cause::Superseded)),
        }
    }
}

/// The value of a grant that goes on.
pub(super) fn held(claim: &Claim, grant: &Grant, place: &Place, ttl: Duration, now: Now) -> Record {
    Record {
        ttl: Some(ttl),
        owner: Some(claim.owner()),
        base: grant.base,
        fence: Some(grant.fence),
        written: now.wall,
        since: grant.since,
        label: claim.label().into(),
        key: place.whole.clone(),
        ..Record::new(State::Held)
    }
}

impl Talk for Renew<'_> {
    type End = ();

    fn server(&self) -> usize {
        self.place.server
    }

    fn turn(&mut self, heard: Heard, now: Now) -> Turn<()> {
        let step = std::mem::replace(&mut self.step, Step::Begin);
        let next = match (step, heard) {
            (Step::Look, Heard::Answers(answers)) => self.is_there(answers, None, now),
            (Step::Put(value), Heard::Answers(answers)) => self.is_there(answers, Some(&value), now),
            (_, Heard::Stale { .. }) => Ok(self.look()),
            _ => Ok(self.begin(now)),
        };
        next.unwrap_or_else(|error| Turn::End(Err(error)))
    }
}
