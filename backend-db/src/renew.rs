//! Renewing many locks at once.

use std::time::Duration;

use tenure_core::{Backend, Error, Mode, Renewal, Result};

use crate::Db;
use crate::batch::{Batch, MOST};
use crate::statement::{Values, micros};

impl Db {
    /// Renews locks in as few statements as there are; those that are lost are found by halving.
    pub(crate) fn renew_all(&self, due: &[Renewal<'_, ()>]) -> Vec<Result<()>> {
        due.chunks(MOST).flat_map(|some| self.renew_some(some)).collect()
    }

    fn renew_some(&self, due: &[Renewal<'_, ()>]) -> Vec<Result<()>> {
        if due.len() < 2 || due.iter().any(is_single) {
            return due.iter().map(|due| self.renew(*due)).collect();
        }
        match self.renew_together(due) {
            Ok(renewed) if renewed == due.len() => due.iter().map(|_| Ok(())).collect(),
            Ok(_) => {
                let (one, other) = due.split_at(due.len() / 2);
                let mut answers = self.renew_some(one);
                answers.extend(self.renew_some(other));
                answers
            }
            Err(error) => due.iter().map(|_| Err(unanswered(&error))).collect(),
        }
    }

    /// How many of them were renewed.
    fn renew_together(&self, due: &[Renewal<'_, ()>]) -> Result<usize> {
        let inner = self.inner();
        let values = |due: &Renewal<'_, ()>| -> Result<Values> {
            let mut values = Values::of_claim(due.claim(), &*self.key(due.claim())?);
            values.ttl = micros(due.ttl());
            inner.fill(&mut values);
            Ok(values)
        };
        let mut all = due.iter().map(values).collect::<Result<Vec<_>>>()?;
        let renewed = inner.pool.ask(|link| {
            if let Some(first) = all.first_mut() {
                first.read_clocks();
            }
            link.renew(Batch::new(&inner.dialect.renewing, &all))
        });
        Ok(renewed?.value)
    }
}

/// Whether it is not one of those that one statement renews together.
pub(crate) fn is_single(due: &Renewal<'_, ()>) -> bool {
    due.ttl() == Duration::MAX || due.claim().mode() != Mode::Exclusive
}

/// One statement was for many; each of them went unanswered.
pub(crate) fn unanswered(error: &Error) -> Error {
    Error::new(error.kind(), "the renewal went unanswered").with_source(error.to_string())
}
