//! One waiting acquisition, without I/O: what threads and tasks do next.
//!
//! Both run the same loop: call [`Wait::turn`], do what it says, tell it the answer.

use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use crate::any::AnyGrant;
use crate::line::{Leaving, Line};
use crate::observe::{self, Event, Waiting};
use crate::policy::{Acquire, Budget, Jitter, Step};
use crate::waiter::{Promotion, Waiter};
use crate::{Claim, Denied, Error, Granted, Lease, Mode, Moment, Result, Site, Watch};

/// A claim that waits.
pub(crate) struct Wait<'c> {
    site: &'c Site,
    claim: &'c Claim,
    policy: Acquire,
    waiter: Option<Standing>,
    /// Whether other processes come first when this one releases.
    steps_back: bool,
    last_error: Option<Error>,
    last_denied: Denied,
    /// Whether the store may keep something for this claim: a place in its queue, or a grant whose
    /// answer got lost.
    leftover: bool,
    /// Whether it was told to ask since it was denied last.
    told: bool,
    /// Whether nothing has been heard of the store yet, nor of a line before this one.
    fresh: bool,
    _waiting: Waiting,
}

struct Standing {
    waiter: Arc<Waiter>,
    first: bool,
    watched: bool,
    /// The promise of a store that is its own queue; others make theirs to the line.
    _promise: Option<Watch>,
}

/// What to do next.
pub(crate) enum Turn {
    /// Call `try_acquire`, and tell the answer.
    Ask,
    /// Call `watch`, and tell the answer.
    Watch,
    /// Sleep until then or until woken.
    Sleep(Moment),
    /// The store delivered the lock.
    Given(Granted<AnyGrant>),
    /// Not in the caller's time; end the wait.
    TimedOut,
    /// The store does not answer; end the wait.
    Failed(Error),
}

impl<'c> Wait<'c> {
    pub(crate) fn new(site: &'c Site, claim: &'c Claim, now: Moment, until: Option<Moment>) -> Self {
        let target = claim.target();
        // A store in this process never forgets to deliver.
        let recheck = if site.is_direct() { Duration::from_secs(3600) } else { target.recheck };
        let mut wait = Self {
            site,
            claim,
            policy: Acquire::new(now, until, target.sleep, recheck),
            waiter: None,
            steps_back: false,
            last_error: None,
            last_denied: Denied::new(),
            leftover: false,
            told: false,
            fresh: false,
            _waiting: Waiting::begin(site),
        };
        // Who finds a line stands behind it; asking the store would be overtaking.
        if !site.is_direct() && site.has_line(claim.key()) {
            observe::contended(site, claim, Denied::new());
            wait.stand_in_line();
        } else if site.is_queued() {
            // Nor may those who come at the same time take a place each in the store's queue.
            wait.stand_in_line();
            wait.fresh = wait.waiter.as_ref().is_some_and(|standing| standing.first);
        }
        wait
    }

    pub(crate) fn site(&self) -> &'c Site {
        self.site
    }

    /// Lets other processes go first.
    pub(crate) fn rest(&mut self, now: Moment) {
        self.policy.rest(now, Budget::pause(true, self.claim.target().sleep));
    }

    pub(crate) fn turn(&mut self, waker: &Waker, now: Moment) -> Turn {
        if let Some(standing) = &self.waiter {
            let (news, given) = standing.waiter.look(waker);
            if let Some(given) = given {
                return Turn::Given(given);
            }
            if let Some(message) = news.failed {
                let failed = "the store did not answer the first in this process's line";
                return Turn::Failed(Error::unavailable(failed).settled().with_source(&*message));
            }
            if let Some(promotion) = news.promoted {
                let watched = self.inherited(|_| ()).is_some();
                if let Some(standing) = &mut self.waiter {
                    (standing.first, standing.watched) = (true, watched);
                }
                match promotion {
                    // A place in the store's queue is taken at once.
                    _ if self.site.is_queued() => self.policy.notified(now),
                    Promotion::Vacant => self.policy.notified(now),
                    Promotion::Behind { lease, rest } => self.stand_behind(now, lease, rest),
                }
            }
            // A store that has the claim in its queue hands it what was released.
            if news.notified || (news.released && !self.last_denied.queued) {
                self.told = true;
                match std::mem::take(&mut self.steps_back) {
                    true => self.step_back(now, news.notified),
                    false => self.policy.notified(now),
                }
            }
        }
        let step = self.policy.step(now);
        match &self.waiter {
            _ if self.fresh => Turn::Ask,
            _ if step == Step::TimedOut => Turn::TimedOut,
            Some(standing) if !standing.first => Turn::Sleep(self.policy.limit()),
            Some(standing) if !standing.watched && self.is_to_watch() => Turn::Watch,
            _ => match step {
                Step::Ask => Turn::Ask,
                Step::Sleep(until) => Turn::Sleep(until),
                Step::TimedOut => Turn::TimedOut,
            },
        }
    }

    /// Whether the store is to promise to tell. One with a queue is asked first, for a place in it.
    fn is_to_watch(&self) -> bool {
        !self.site.is_queued() || self.last_denied.queued
    }

    /// The store said no.
    pub(crate) fn denied(&mut self, now: Moment, denied: Denied) {
        observe::contended(self.site, self.claim, denied);
        self.turned_away(now, denied);
    }

    fn turned_away(&mut self, now: Moment, denied: Denied) {
        self.leftover |= denied.queued;
        self.told = false;
        self.fresh = false;
        self.last_denied = denied;
        self.last_error = None;
        if self.waiter.is_none() {
            self.stand_in_line();
        }
        let Self { site, claim, policy, .. } = self;
        let jitter = Jitter::random();
        if site.is_direct() {
            policy.denied(now, denied.retry_after, Some(&Watch::armed(())), jitter);
            return;
        }
        let ours = site.holding(claim.key()).is_some();
        // A store with a queue that gave no place in it has nothing to tell before the time that it said.
        let closed = (site.is_queued() && !denied.queued).then(|| Watch::armed(()));
        site.in_line(claim.key(), |line| {
            if !ours {
                line.passed_over();
            }
            policy.denied(now, denied.retry_after, line.watch().or(closed.as_ref()), jitter);
        });
    }

    /// The store did not answer: an error for the caller, or patience.
    pub(crate) fn failed(&mut self, now: Moment, error: Error) -> Result<()> {
        if error.is_quarantined() {
            observe::quarantined(self.site, self.claim, &error);
            self.turned_away(now, Denied { retry_after: error.retry_after(), ..Denied::new() });
            self.last_error = Some(error);
            return Ok(());
        }
        self.leftover |= !error.is_settled();
        if self.waiter.is_none() || !error.is_unavailable() {
            return Err(error);
        }
        // A store that is down when first asked is an error at once.
        if self.fresh || !self.policy.failed(now, Jitter::random()) {
            if !error.is_too_late() {
                let message: Arc<str> = error.to_string().into();
                self.site.in_line(self.claim.key(), |line| line.fail(&message));
            }
            return Err(error);
        }
        observe::tell(self.site, self.claim, Event::Unanswered { error: &error });
        self.last_error = Some(error);
        Ok(())
    }

    /// The store promised to notify, or not.
    pub(crate) fn watching(&mut self, now: Moment, watch: Result<Watch>) {
        let watch = watch.unwrap_or_else(|_| Watch::none());
        self.leftover |= watch.is_queued();
        let Some(standing) = &mut self.waiter else { return };
        standing.watched = true;
        if self.site.is_direct() {
            standing._promise = Some(watch);
            return;
        }
        let delivers = watch.is_queued() && self.last_denied.queued;
        let Self { site, claim, policy, last_denied, told, .. } = self;
        let kept = site.in_line(claim.key(), |line| {
            if delivers {
                policy.denied(now, last_denied.retry_after, Some(&watch), Jitter::random());
            }
            line.keep_watch(watch)
        });
        drop(kept);
        if !delivers || *told {
            // The lock may have become free between the denial and now; or the store's news of that got
            // lost, and it was told to ask by itself.
            policy.notified(now);
        }
    }

    /// Ends the wait with the lock: the next in line waits for its release.
    pub(crate) fn won(&mut self, lease: Lease) {
        let lease = match lease {
            Lease::For(ttl) => Some(ttl),
            Lease::Session => None,
        };
        self.leave(match self.claim.mode() {
            Mode::Exclusive => Leaving::Won(lease),
            _ => Leaving::WonShare,
        });
    }

    /// Ends the wait without the lock, unless it was delivered at the last moment. The flag says
    /// whether the store may keep something for the claim, to be abandoned.
    pub(crate) fn give_up(&mut self) -> (Option<Granted<AnyGrant>>, bool) {
        let given = self.waiter.as_ref().and_then(|standing| standing.waiter.close());
        if let Some(granted) = &given {
            self.won(granted.lease);
        } else {
            self.leave(Leaving::Without);
        }
        (given, self.leftover)
    }

    /// The error of a wait that took too long, with what is known of the reason.
    pub(crate) fn timed_out(&mut self, waited: Duration) -> Error {
        let mut error = Error::new(
            crate::Kind::TimedOut,
            format!(
                "not free within {waited:.1?}; wait longer, or find out who holds it with `tenure status`"
            ),
        )
        .with_denied(self.last_denied);
        if let Some(place) = self.held_here() {
            error = error.with_note(format!("this very process holds it since {place}"));
        }
        match self.last_error.take() {
            Some(source) => error.with_source(source),
            None => error,
        }
    }

    /// Where this very process holds the lock that it waits for.
    pub(crate) fn held_here(&self) -> Option<&'static std::panic::Location<'static>> {
        self.last_denied.place.or_else(|| self.site.holding(self.claim.key()))
    }

    /// Warns of a wait that may never end because it waits for itself.
    pub(crate) fn diagnose(&self) {
        if observe::HAS_EVENTS
            && let Some(held_at) = self.held_here()
        {
            observe::tell(self.site, self.claim, Event::WaitsForItself { held_at });
        }
    }

    #[cfg(test)]
    fn is_waiting(&self) -> bool {
        self.waiter.is_some()
    }

    fn stand_in_line(&mut self) {
        let waiter = Waiter::new(self.claim.owner());
        self.site.admit(&waiter);
        let first = self.site.is_direct() || self.site.join_line(self.claim.key(), &waiter);
        self.waiter = Some(Standing { waiter, first, watched: false, _promise: None });
    }

    /// The one before won: its release will be told, so nothing is asked before then.
    fn stand_behind(&mut self, now: Moment, lease: Option<Duration>, rest: bool) {
        self.policy.denied(now, lease, Some(&Watch::armed(())), Jitter::random());
        self.steps_back = rest;
    }

    /// The lock may be free, and other processes come first. A store that tells processes in turn will
    /// tell this one, or has just done so.
    fn step_back(&mut self, now: Moment, told_by_store: bool) {
        let in_turn = self.inherited(Watch::is_in_turn) == Some(true);
        if told_by_store || !in_turn {
            self.policy.notified(now);
        }
        if !in_turn {
            let notified = self.inherited(Watch::is_armed) == Some(true);
            self.policy.rest(now, Budget::pause(notified, self.claim.target().sleep));
        }
    }

    /// What the store promised to the line, if it did so already.
    fn inherited<T>(&self, promise: impl FnOnce(&Watch) -> T) -> Option<T> {
        let watch = |line: &mut Line| line.watch().filter(|watch| !watch.is_queued()).map(promise);
        self.site.in_line(self.claim.key(), watch).flatten()
    }

    fn leave(&mut self, how: Leaving) {
        let Some(standing) = self.waiter.take() else { return };
        if !self.site.is_direct() {
            self.site.in_line(self.claim.key(), |line| line.leave(&standing.waiter, how));
        }
        self.site.dismiss(&standing.waiter);
    }
}

impl Drop for Wait<'_> {
    /// A wait that ends by a panic or a dropped future leaves the line like any other.
    fn drop(&mut self) {
        self.leave(Leaving::Without);
    }
}

#[cfg(test)]
mod tests;
