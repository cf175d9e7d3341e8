//! Asking for a lock.

use std::time::Duration;

use tenure_core::{Attempt, Cause, Claim, Denied, Error, Fence, Granted, Lease, Moment, Owner, Result, Ttl};

use super::{Grant, Heard, ROUNDS, Talk, Turn, no_memory, restless, store};
use crate::dialect::{Dialect, Now, Place, fence, no_numbers};
use crate::guard::{self, Guard};
use crate::record::{LONGEST, Record, State, life};
use crate::stats::Stats;
use crate::wire::{Answers, Item, Request, Store};

/// One attempt, or the restoring of what an owner has.
///
/// In one go: put our value where there is none, read the guard, read what is there. The guard is read
/// *after* our value was put there: as long as it is the one that was known before, the server has not
/// forgotten anything, and what forgets later will forget our value too.
pub(crate) struct Acquire<'a> {
    dialect: &'a Dialect,
    place: &'a Place,
    owner: Owner,
    ttl: Duration,
    floor: Fence,
    label: &'a str,
    restores: bool,
    step: Step,
    rounds: u32,
    /// How often nothing was there afterwards.
    vain: u32,
    /// Whether a guard was made.
    made: bool,
}

enum Step {
    Begin,
    /// Reading the guard.
    Guard,
    /// Asking when the server's guard opens.
    Opens(Guard, Read),
    /// Asking what a new guard must be, in place of this one if there is one.
    Make(Option<Read>),
    /// Our value may be there.
    Put(Put),
    /// Taking back what should not have been put there.
    Undo,
    /// Raising the guard.
    Raise,
    /// Reading what is to be restored.
    Look,
}

/// A value, and when it was read.
struct Read {
    item: Item,
    sent: Moment,
}

/// What was put.
struct Put {
    value: Vec<u8>,
    /// By which the number of its change is a fence.
    base: u64,
    since: u64,
    /// Instead of the value with this number; else where there was none.
    instead: Option<u64>,
    before: Option<Before>,
}

/// What the same owner was granted before.
#[derive(Clone, Copy)]
struct Before {
    base: u64,
    fence: Fence,
}

impl<'a> Acquire<'a> {
    pub(crate) fn new(dialect: &'a Dialect, place: &'a Place, claim: &'a Claim, restores: bool) -> Self {
        Self {
            dialect,
            place,
            owner: claim.owner(),
            ttl: claim.term().ttl().map_or(LONGEST, Ttl::get),
            floor: claim.floor(),
            label: claim.label(),
            restores,
            step: Step::Begin,
            rounds: 0,
            vain: 0,
            made: false,
        }
    }

    fn guard(&self) -> &guard::Known {
        &self.dialect.guards[self.place.server]
    }

    fn begin(&mut self, now: Now) -> Turn<Attempt<Grant>> {
        self.rounds += 1;
        if self.rounds > ROUNDS {
            return Turn::End(Err(restless()));
        }
        if self.restores {
            self.step = Step::Look;
            return Turn::Ask(Request::default().get(self.place.key.as_bytes()));
        }
        match self.guard().base() {
            Some(base) => self.put(base, None, now),
            None => self.read_guard(),
        }
    }

    fn read_guard(&mut self) -> Turn<Attempt<Grant>> {
        self.guard().is_gone();
        self.step = Step::Guard;
        Turn::Ask(Request::default().get(guard::KEY))
    }

    /// Puts our value where there is none, or in place of another.
    fn put(&mut self, base: u64, instead: Option<&Read>, now: Now) -> Turn<Attempt<Grant>> {
        self.write(base, None, instead, now.wall, now)
    }

    fn write(
        &mut self,
        base: u64,
        before: Option<Before>,
        instead: Option<&Read>,
        since: u64,
        now: Now,
    ) -> Turn<Attempt<Grant>> {
        let record = Record {
            ttl: Some(self.ttl),
            owner: Some(self.owner),
            base: before.map_or(base, |before| before.base),
            fence: before.map(|before| before.fence),
            written: now.wall,
            since,
            label: self.label.into(),
            key: self.place.whole.clone(),
            ..Record::new(State::Held)
        };
        let form = self.dialect.form;
        let value = form.write(&record);
        let put = store(self.place, form.flags(), &record, &value);
        let request = match instead {
            None => Request::default().add(&put),
            Some(read) => Request::default().swap(&put, read.item.cas).read_at(read.sent),
        };
        let instead = instead.map(|read| read.item.cas);
        let request = request.get(guard::KEY).get(self.place.key.as_bytes());
        self.step = Step::Put(Put { value, base, since, instead, before });
        Turn::Ask(request)
    }

    /// What is there after we put our value there, if it was not in vain.
    fn is_there(&mut self, mut answers: Answers, put: Put, now: Now) -> Result<Turn<Attempt<Grant>>> {
        let (guard, item) = (answers.take().item(), answers.take().item());
        let base = guard.and_then(|item| Some(Guard::read(&item)?.base(&item)));
        let guarded = base == Some(put.base);
        if !guarded {
            self.guard().is_gone();
        }
        // What is restored is older than the guard may be.
        let stands = guarded || self.restores;
        let Some(item) = item else { return self.is_nowhere(guarded, now) };
        let read = Read { item, sent: answers.sent };
        let item = &read.item;
        if item.cas == 0 {
            return Err(no_numbers());
        }
        let unchanged = put.instead == Some(item.cas);
        if item.value == put.value && self.is_fresh(item) && !unchanged {
            return match put.before.or(base.map(|base| Before { base, fence: fence(base, item.cas) })) {
                Some(grant) if stands => Ok(self.has(&read, grant, put.since, now)),
                _ => Ok(self.undo(&read)),
            };
        }
        let record = self.dialect.read(self.place, item)?;
        if record.owner == Some(self.owner) && record.state == State::Held {
            // What was put under another guard has the fence of another epoch.
            let counts = self.restores || record.fence.is_none() || record.base == put.base;
            return match unchanged {
                true => Err(no_memory()),
                false if stands && counts => Ok(self.renew(&read, &record, put.base, now)),
                false => Ok(self.undo(&read)),
            };
        }
        if self.restores {
            return Err(Error::lost(Cause::Superseded));
        }
        let rest = self.dialect.rest(self.place, item, &record, now);
        if rest.is_over() && guarded {
            return Ok(match unchanged {
                // There is no memory for two values, so one goes first.
                true => self.undo(&read),
                false => self.put(put.base, Some(&read), now),
            });
        }
        let mut denied = Denied::new();
        if let Some(remaining) = rest.remaining() {
            denied = denied.retry_after(remaining);
        }
        if let Some(fence) = record.fence {
            denied = denied.holder(fence);
        }
        Ok(Turn::End(Ok(Attempt::Denied(denied))))
    }

    /// Nothing is there, not even what we put there.
    fn is_nowhere(&mut self, guarded: bool, now: Now) -> Result<Turn<Attempt<Grant>>> {
        self.vain += 1;
        match (self.restores, guarded) {
            (true, _) => Err(Error::lost(Cause::Superseded)),
            (false, false) => Ok(self.read_guard()),
            // It may have been taken away in the same moment; once.
            (false, true) if self.vain == 1 => Ok(self.begin(now)),
            (false, true) => Err(no_memory()),
        }
    }

    /// Whether a value that is like ours was put there just now. Tokens alone are all alike.
    fn is_fresh(&self, item: &Item) -> bool {
        item.life.is_none_or(|left| left + 1 >= u64::from(life(self.ttl)))
    }

    /// Our value is there.
    fn has(
        &mut self,
        Read { item, sent }: &Read,
        Before { base, fence }: Before,
        since: u64,
        now: Now,
    ) -> Turn<Attempt<Grant>> {
        if fence <= self.floor && !self.restores {
            // The guard was made anew behind a clock that is ahead.
            self.step = Step::Raise;
            let request = Request::default().delete(self.place.key.as_bytes(), item.cas).get(guard::KEY);
            return Turn::Ask(request.read_at(*sent));
        }
        self.guard().seen(fence);
        let grant = Grant::new(item.cas, *sent, now.moment + self.ttl, base, fence, since);
        Turn::End(Ok(Attempt::Granted(Granted::new(grant, fence, Lease::For(self.ttl)))))
    }

    /// The owner has it already: from an attempt whose answer got lost, or since it is restored.
    fn renew(&mut self, read: &Read, record: &Record, base: u64, now: Now) -> Turn<Attempt<Grant>> {
        self.rounds += 1;
        if self.rounds > ROUNDS {
            return Turn::End(Err(restless()));
        }
        // Where values have no room for a fence, it is a new one.
        let before = record.fence.map(|fence| Before { base: record.base, fence });
        self.write(base, before, Some(read), record.since, now)
    }

    fn undo(&mut self, read: &Read) -> Turn<Attempt<Grant>> {
        self.step = Step::Undo;
        Turn::Ask(Request::default().delete(self.place.key.as_bytes(), read.item.cas).read_at(read.sent))
    }

    fn restore(&mut self, read: Option<Read>, now: Now) -> Result<Turn<Attempt<Grant>>> {
        let lost = || Error::lost(Cause::Superseded);
        let read = read.ok_or_else(lost)?;
        let record = self.dialect.read(self.place, &read.item)?;
        let is_own = record.owner == Some(self.owner) && record.state == State::Held;
        if !is_own || !self.dialect.is_taken(self.place, &read.item, &record, now) {
            return Err(lost());
        }
        let base = self.guard().base().unwrap_or(record.base);
        Ok(self.renew(&read, &record, base, now))
    }

    /// What the guard says, which may not be there.
    fn heed(&mut self, read: Option<Read>) -> Result<Turn<Attempt<Grant>>> {
        self.rounds += 1;
        if self.rounds > ROUNDS {
            return Err(restless());
        }
        let Some(read) = read else {
            if std::mem::replace(&mut self.made, true) {
                return Err(no_memory());
            }
            self.step = Step::Make(None);
            return Ok(Turn::Stats);
        };
        if read.item.cas == 0 {
            return Err(no_numbers());
        }
        let Some(guard) = Guard::read(&read.item) else {
            return Err(Error::misconfigured(format!(
                "something else uses the key {:?}, by which this store knows whether the server forgot locks",
                String::from_utf8_lossy(guard::KEY)
            )));
        };
        self.step = Step::Opens(guard, read);
        Ok(Turn::Stats)
    }

    /// Whether the guard opens yet, and is one of this life of the server.
    fn opens(&mut self, guard: Guard, read: Read, stats: &Stats, now: Now) -> Turn<Attempt<Grant>> {
        if guard.started != stats.started() {
            self.step = Step::Make(Some(read));
            return self.make(stats, now);
        }
        if guard.opens > stats.time() {
            return Turn::End(Err(self.closed(guard.opens - stats.time())));
        }
        self.guard().is_open(guard.base(&read.item));
        self.begin(now)
    }

    fn closed(&self, seconds: u64) -> Error {
        let server = &self.dialect.servers[self.place.server];
        Error::quarantined(
            Duration::from_secs(seconds),
            format!(
                "{server} may have forgotten locks, since it was started or lost data less than the longest lease \
                 ago, and grants none for {seconds} s; wait, or set a shorter max_ttl, or put up with locks that \
                 are granted twice then (quarantine=off)"
            ),
        )
    }

    fn make(&mut self, stats: &Stats, now: Now) -> Turn<Attempt<Grant>> {
        let Step::Make(instead) = std::mem::replace(&mut self.step, Step::Guard) else {
            return self.read_guard();
        };
        let floor = self.guard().top().max(self.floor);
        let guard = Guard::new(stats, self.dialect.longest, floor, now.wall);
        Turn::Ask(put_guard(&guard, instead.as_ref()))
    }

    /// Makes fences larger than what the caller has seen.
    fn raise(&mut self, read: Option<Read>) -> Turn<Attempt<Grant>> {
        self.guard().is_gone();
        self.step = Step::Guard;
        match read.and_then(|read| Some((Guard::read(&read.item)?, read))) {
            Some((guard, read)) => Turn::Ask(put_guard(&guard.raised(self.floor), Some(&read))),
            None => self.read_guard(),
        }
    }
}

/// The next of the answers, if it is a value.
fn read(answers: &mut Answers) -> Option<Read> {
    let sent = answers.sent;
    answers.take().item().map(|item| Read { item, sent })
}

fn put_guard(guard: &Guard, instead: Option<&Read>) -> Request {
    let value = guard.write();
    let put = Store { key: guard::KEY, flags: 0, life: 0, value: &value };
    let request = match instead {
        None => Request::default().add(&put),
        Some(read) => Request::default().swap(&put, read.item.cas).read_at(read.sent),
    };
    request.get(guard::KEY)
}

impl Talk for Acquire<'_> {
    type End = Attempt<Grant>;

    fn server(&self) -> usize {
        self.place.server
    }

    fn turn(&mut self, heard: Heard, now: Now) -> Turn<Attempt<Grant>> {
        let step = std::mem::replace(&mut self.step, Step::Begin);
        let next = match (step, heard) {
            (Step::Guard, Heard::Answers(mut answers)) => self.heed(read(&mut answers)),
            (Step::Guard, Heard::Stale { .. }) => Ok(self.read_guard()),
            (Step::Opens(guard, read), Heard::Stats(stats)) => Ok(self.opens(guard, read, &stats, now)),
            (Step::Make(instead), Heard::Stats(stats)) => {
                self.step = Step::Make(instead);
                Ok(self.make(&stats, now))
            }
            (Step::Put(put), Heard::Answers(answers)) => self.is_there(answers, put, now),
            (Step::Undo, Heard::Answers(_)) => Ok(self.read_guard()),
            (Step::Raise, Heard::Answers(mut answers)) => {
                answers.take();
                Ok(self.raise(read(&mut answers)))
            }
            (Step::Look, Heard::Answers(mut answers)) => self.restore(read(&mut answers), now),
            _ => Ok(self.begin(now)),
        };
        next.unwrap_or_else(|error| Turn::End(Err(error)))
    }
}
