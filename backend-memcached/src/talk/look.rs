//! Looking at a lock.

use std::time::{Duration, SystemTime};

use tenure_core::{Fence, Holder, Name, Result};

use super::{Heard, Talk, Turn};
use crate::dialect::{Dialect, Now, Place};
use crate::record::{Record, State};
use crate::wire::{Item, Request};

/// One look, which changes nothing.
pub(crate) struct Look<'a> {
    dialect: &'a Dialect,
    place: &'a Place,
    name: &'a Name,
    asked: bool,
}

impl<'a> Look<'a> {
    pub(crate) fn new(dialect: &'a Dialect, place: &'a Place, name: &'a Name) -> Self {
        Self { dialect, place, name, asked: false }
    }
}

impl Talk for Look<'_> {
    type End = Option<Holder>;

    fn server(&self) -> usize {
        self.place.server
    }

    fn turn(&mut self, heard: Heard, now: Now) -> Turn<Option<Holder>> {
        match heard {
            Heard::Answers(mut answers) if self.asked => {
                let seen =
                    answers.take().item().map(|item| seen(self.dialect, self.place, self.name, &item, now));
                Turn::End(seen.transpose().map(|seen| seen.flatten().map(|(holder, _)| holder)))
            }
            _ => {
                self.asked = true;
                Turn::Ask(Request::default().get(self.place.key.as_bytes()))
            }
        }
    }
}

/// Who holds a lock by what is there, if its lease goes on.
pub(super) fn seen(
    dialect: &Dialect,
    place: &Place,
    name: &Name,
    item: &Item,
    now: Now,
) -> Result<Option<(Holder, Record)>> {
    let record = dialect.read(place, item)?;
    if !dialect.is_taken(place, item, &record, now) {
        return Ok(None);
    }
    let fence = record.fence.unwrap_or(Fence::ZERO);
    let mut holder =
        Holder::new(name.clone(), fence, record.remaining(item, now.wall)).with_label(record.label.clone());
    if record.since > 0 {
        holder = holder.with_since(SystemTime::UNIX_EPOCH + Duration::from_micros(record.since));
    }
    if record.state == State::Broken {
        holder = holder.with_breaking(record.reason.clone());
    }
    Ok(Some((holder, record)))
}

/// Reading what lies under a key, whatever it is.
pub(crate) struct Read<'a> {
    server: usize,
    key: &'a str,
    asked: bool,
}

impl<'a> Read<'a> {
    pub(crate) fn new(server: usize, key: &'a str) -> Self {
        Self { server, key, asked: false }
    }
}

impl Talk for Read<'_> {
    type End = Option<Item>;

    fn server(&self) -> usize {
        self.server
    }

    fn turn(&mut self, heard: Heard, _: Now) -> Turn<Option<Item>> {
        match heard {
            Heard::Answers(mut answers) if self.asked => Turn::End(Ok(answers.take().item())),
            _ => {
                self.asked = true;
                Turn::Ask(Request::default().get(self.key.as_bytes()))
            }
        }
    }
}
