//! Who holds what in a scripted store.

use std::collections::HashMap;
use std::time::Duration;

use super::script::{Rule, Twist, Verb};
use super::scripted::Event;
use crate::{Cause, Denied, Fence, Moment, Owner};

/// The names, the script, and what was asked.
#[derive(Default)]
pub(super) struct Ledger {
    names: HashMap<Box<str>, Entry>,
    rules: Vec<Rule>,
    pub(super) down: bool,
}

/// One name.
#[derive(Default)]
pub(super) struct Entry {
    pub(super) holder: Option<Holder>,
    fence: u64,
    calls: HashMap<Verb, u32>,
    pub(super) events: Vec<Event>,
    /// Who lost the lock by force, and is to be told so.
    forced: Option<Owner>,
}

pub(super) struct Holder {
    /// `None` for somebody else, who is not of this test.
    pub(super) owner: Option<Owner>,
    pub(super) fence: Fence,
    pub(super) until: Moment,
    pub(super) label: Box<str>,
}

impl Ledger {
    pub(super) fn entry(&mut self, key: &str) -> &mut Entry {
        if !self.names.contains_key(key) {
            self.names.insert(key.into(), Entry::default());
        }
        self.names.get_mut(key).expect("it was just put there")
    }

    pub(super) fn names(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.names.iter().map(|(key, entry)| (&**key, entry))
    }

    pub(super) fn add(&mut self, rule: Rule) {
        self.rules.push(rule);
    }

    /// Counts a call, and tells what the script says of it; the line that was added last wins.
    pub(super) fn call(&mut self, key: &str, name: &str, verb: Verb) -> Option<Twist> {
        if self.down {
            return Some(Twist::Fail);
        }
        let count = self.entry(key).calls.entry(verb).or_default();
        *count += 1;
        let call = *count;
        self.rules.iter().rev().find_map(|rule| rule.twist(name, verb, call))
    }
}

impl Entry {
    /// The live holder, if there is one.
    pub(super) fn held(&self, now: Moment) -> Option<&Holder> {
        self.holder.as_ref().filter(|holder| holder.until > now)
    }

    /// Whether this owner has it; why it does not any more.
    pub(super) fn owned(&mut self, owner: Owner, now: Moment) -> Result<&mut Holder, Cause> {
        match self.holder.as_mut().filter(|holder| holder.owner == Some(owner)) {
            Some(holder) if holder.until > now => Ok(holder),
            Some(_) => Err(Cause::Expired),
            None if self.forced == Some(owner) => Err(Cause::Forced),
            None => Err(Cause::Superseded),
        }
    }

    /// Gives the name away, under the next fence.
    pub(super) fn give(&mut self, owner: Option<Owner>, floor: Fence, until: Moment, label: &str) -> Fence {
        self.fence = self.fence.max(floor.get()) + 1;
        let fence = Fence::new(self.fence);
        self.holder = Some(Holder { owner, fence, until, label: label.into() });
        fence
    }

    /// Gives the name to somebody who is not of this test.
    pub(super) fn give_away(&mut self, until: Moment) -> Fence {
        self.give(None, Fence::ZERO, until, "somebody else")
    }

    /// Takes it by force.
    pub(super) fn force(&mut self) {
        self.forced = self.holder.take().and_then(|holder| holder.owner);
        self.fence += 1;
    }

    pub(super) fn denial(&self, now: Moment) -> Denied {
        match self.held(now) {
            Some(holder) if holder.until == Moment::FAR => Denied::new().holder(holder.fence),
            Some(holder) => Denied::new().holder(holder.fence).retry_after(holder.until.since(now)),
            None => Denied::new().retry_after(Duration::ZERO),
        }
    }
}
