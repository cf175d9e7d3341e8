//! The scripted store as a backend, for threads and for tasks.

use std::time::Duration;

use super::script::{Twist, Verb};
use super::scripted::{Event, Scripted};
use super::task;
use crate::aio::{self, Alarm, AsyncBackend, AsyncInspect, AsyncRestore, Task};
use crate::{
    AnyBackend, Attempt, Backend, Breaking, Cause, Claim, Error, Granted, Holder, Inspect, Lease, Moment,
    Name, Release, Renewal, Restore, Result, SessionLocks, Site, Watch,
};

impl Scripted {
    /// What the script says of a call; an error if the store does not answer it.
    fn hear(&self, claim: &Claim, verb: Verb) -> Result<Option<Twist>> {
        match self.ledger().call(claim.key(), claim.name(), verb) {
            Some(Twist::Fail) => Err(Error::unavailable("the script says that the store is down").settled()),
            Some(Twist::Quarantine(time)) => {
                Err(Error::quarantined(time, "the script says that the store forgot who holds what"))
            }
            twist => Ok(twist),
        }
    }

    /// Until when a slow answer is under way.
    fn delay(&self, twist: Option<Twist>) -> Option<Moment> {
        match twist {
            Some(Twist::Slow(time)) => Some(self.clock().now() + time),
            _ => None,
        }
    }

    fn wait(&self, twist: Option<Twist>) {
        if let Some(until) = self.delay(twist) {
            self.clock().advance(until.since(self.clock().now()));
        }
    }

    async fn wait_polled(&self, twist: Option<Twist>) {
        if let Some(until) = self.delay(twist) {
            Alarm::new(&self.0.site).sleep_until(until).await;
        }
    }

    fn acquire(&self, claim: &Claim, twist: Option<Twist>) -> Result<Attempt<()>> {
        let now = self.clock().now();
        let mut ledger = self.ledger();
        let entry = ledger.entry(claim.key());
        if let Some(Twist::Lose(_)) = twist
            && entry.held(now).is_none()
        {
            entry.give_away(now + Duration::from_millis(1));
        }
        let again = entry.held(now).filter(|holder| holder.owner == Some(claim.owner()));
        let fence = match again.map(|holder| holder.fence) {
            Some(fence) => fence,
            None if entry.held(now).is_some() => {
                entry.events.push(Event::Denied);
                return Ok(Attempt::Denied(entry.denial(now)));
            }
            None => {
                let fence = entry.give(Some(claim.owner()), claim.floor(), Moment::FAR, claim.label());
                entry.events.push(Event::Granted(fence));
                fence
            }
        };
        let lease = claim.term().ttl().map_or(Lease::Session, |ttl| Lease::For(ttl.get()));
        if let (Lease::For(ttl), Some(holder)) = (lease, &mut entry.holder) {
            holder.until = now + ttl;
        }
        Ok(Attempt::Granted(Granted::new((), fence, lease)))
    }

    fn prolong(&self, due: Renewal<'_, ()>, twist: Option<Twist>) -> Result<()> {
        let (claim, now) = (due.claim(), self.clock().now());
        let mut ledger = self.ledger();
        let entry = ledger.entry(claim.key());
        if let Some(Twist::Lose(cause)) = twist {
            entry.holder = None;
            entry.events.push(Event::Lost(cause));
            return Err(Error::lost(cause));
        }
        match entry.owned(claim.owner(), now) {
            Ok(holder) => {
                if due.ttl() != Duration::MAX {
                    holder.until = now + due.ttl();
                }
                entry.events.push(Event::Renewed);
                Ok(())
            }
            Err(cause) => {
                entry.events.push(Event::Lost(cause));
                Err(Error::lost(cause))
            }
        }
    }

    fn end(&self, end: Release<'_, ()>, twist: Option<Twist>) -> Result<()> {
        let (claim, now) = (end.claim(), self.clock().now());
        let mut ledger = self.ledger();
        let entry = ledger.entry(claim.key());
        let lost = match (twist, entry.owned(claim.owner(), now)) {
            (Some(Twist::Lose(cause)), _) | (_, Err(cause)) => Some(cause),
            (_, Ok(_)) => None,
        };
        if entry.holder.as_ref().is_some_and(|holder| holder.owner == Some(claim.owner())) {
            match end.keep().filter(|_| lost.is_none()) {
                Some(keep) => drop(entry.give_away(now + keep)),
                None => entry.holder = None,
            }
        }
        entry.events.push(lost.map_or(Event::Released, Event::Lost));
        drop(ledger);
        self.0.site.notify(claim.key());
        lost.map_or(Ok(()), |cause| Err(Error::lost(cause)))
    }

    fn take_back(&self, claim: &Claim) {
        let mut ledger = self.ledger();
        let entry = ledger.entry(claim.key());
        if entry.holder.as_ref().is_some_and(|holder| holder.owner == Some(claim.owner())) {
            entry.holder = None;
            entry.events.push(Event::Released);
        }
    }
}

impl Backend for Scripted {
    type Grant = ();
    type Handle = Self;

    fn handle(&self) -> Self {
        self.clone()
    }

    fn site(&self) -> &Site {
        &self.0.site
    }

    fn try_acquire(&self, claim: &Claim) -> Result<Attempt<()>> {
        let twist = self.hear(claim, Verb::Acquire)?;
        let answer = self.acquire(claim, twist);
        self.wait(twist);
        Twist::answer(twist, answer)
    }

    fn renew(&self, due: Renewal<'_, ()>) -> Result<()> {
        let twist = self.hear(due.claim(), Verb::Renew)?;
        let answer = self.prolong(due, twist);
        self.wait(twist);
        Twist::answer(twist, answer)
    }

    fn release(&self, end: Release<'_, ()>) -> Result<()> {
        let twist = self.hear(end.claim(), Verb::Release)?;
        let answer = self.end(end, twist);
        self.wait(twist);
        Twist::answer(twist, answer)
    }

    fn abandon(&self, claim: &Claim) {
        self.take_back(claim);
    }

    fn watch(&self, _: &Claim) -> Result<Watch> {
        Ok(Watch::armed(()))
    }
}

impl AsyncBackend for Scripted {
    type Grant = ();
    type Handle = Self;

    fn handle(&self) -> Self {
        self.clone()
    }

    fn site(&self) -> &Site {
        &self.0.site
    }

    async fn try_acquire(&self, claim: &Claim) -> Result<Attempt<()>> {
        let twist = self.hear(claim, Verb::Acquire)?;
        let answer = self.acquire(claim, twist);
        self.wait_polled(twist).await;
        Twist::answer(twist, answer)
    }

    async fn renew(&self, due: Renewal<'_, ()>) -> Result<()> {
        let twist = self.hear(due.claim(), Verb::Renew)?;
        let answer = self.prolong(due, twist);
        self.wait_polled(twist).await;
        Twist::answer(twist, answer)
    }

    async fn release(&self, end: Release<'_, ()>) -> Result<()> {
        let twist = self.hear(end.claim(), Verb::Release)?;
        let answer = self.end(end, twist);
        self.wait_polled(twist).await;
        Twist::answer(twist, answer)
    }

    fn spawn(&self, task: Task) {
        task::start(task);
    }

    async fn abandon(&self, claim: &Claim) {
        self.take_back(claim);
    }

    async fn watch(&self, _: &Claim) -> Result<Watch> {
        Ok(Watch::armed(()))
    }
}

impl Restore for Scripted {
    fn restore(&self, claim: &Claim) -> Result<Granted<()>> {
        let now = self.clock().now();
        let held = self.ledger().entry(claim.key()).owned(claim.owner(), now).map(drop);
        held.map_err(Error::lost)?;
        match self.acquire(claim, None)? {
            Attempt::Granted(granted) => Ok(granted),
            Attempt::Denied(_) => Err(Error::lost(Cause::Superseded)),
        }
    }
}

impl AsyncRestore for Scripted {
    async fn restore(&self, claim: &Claim) -> Result<Granted<()>> {
        Restore::restore(self, claim)
    }
}

impl SessionLocks for Scripted {}

impl Inspect for Scripted {
    fn inspect(&self, name: &Name) -> Result<Option<Holder>> {
        Ok(Inspect::list(self, name.as_str())?.into_iter().find(|holder| holder.name() == name))
    }

    fn list(&self, prefix: &str) -> Result<Vec<Holder>> {
        let (now, start) = (self.clock().now(), self.key(prefix));
        let skip = self.0.site.settings().prefix().len();
        let ledger = self.ledger();
        let mut holders: Vec<_> = ledger
            .names()
            .filter(|(key, _)| key.starts_with(&start))
            .filter_map(|(key, entry)| {
                let holder = entry.held(now)?;
                let left = (holder.until != Moment::FAR).then(|| holder.until.since(now));
                Some(
                    Holder::new(Name::new(&key[skip..]).ok()?, holder.fence, left).with_label(&*holder.label),
                )
            })
            .collect();
        holders.sort_by(|one, other| one.name().cmp(other.name()));
        Ok(holders)
    }

    /// Opens the name at once, whichever way was asked for: nobody is at work in a script.
    fn force_release(&self, name: &Name, breaking: Breaking, reason: &str) -> Result<Option<Holder>> {
        let seen = Inspect::inspect(self, name)?;
        let key = self.key(name.as_str());
        if let Some(seen) = &seen {
            self.ledger().entry(&key).force();
            self.0.site.notify(&key);
            self.0.site.force_released(seen, breaking, reason);
        }
        Ok(seen)
    }
}

impl AsyncInspect for Scripted {
    async fn inspect(&self, name: &Name) -> Result<Option<Holder>> {
        Inspect::inspect(self, name)
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Holder>> {
        Inspect::list(self, prefix)
    }

    async fn force_release(&self, name: &Name, breaking: Breaking, reason: &str) -> Result<Option<Holder>> {
        Inspect::force_release(self, name, breaking, reason)
    }
}

impl From<Scripted> for AnyBackend {
    fn from(store: Scripted) -> Self {
        Self::erase(store).inspect().restore().sessions().build()
    }
}

impl From<Scripted> for aio::AnyBackend {
    fn from(store: Scripted) -> Self {
        Self::erase(store).inspect().restore().sessions().build()
    }
}
