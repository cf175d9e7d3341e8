//! Who of this process stands in the queues at the server, and what the server tells them.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tenure_core::{Claim, Fence, Granted, Lease, Moment, Owner, Site};

use crate::fair::{self, Queue};
use crate::resp::Reply;
use crate::script::Call;

/// The places of this process in the queues of a store.
///
/// The server hands a lock on by a message: whose it is now, its fence, and how long before the grant it
/// had last heard of that waiter. Its lease is longer by that time. So the waiter may count the lease
/// from that long after it sent the last request that it knows was answered, which was before the grant,
/// whatever the clocks say. And it takes only a fence above the last one that this answer told: anything
/// else is a grant from before, which arrived late.
pub(crate) struct Places {
    site: Site,
    queue: Queue,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    waiting: HashMap<Owner, Place>,
    gone: VecDeque<Gone>,
}

struct Place {
    key: Box<str>,
    /// The lease of a grant that is handed to it.
    life: Duration,
    answered: Option<Answered>,
    handed: Option<Handed>,
    /// Whether core can take a grant for it by now.
    promised: bool,
}

/// The last answer that says that the claim stands in the queue.
#[derive(Clone, Copy)]
struct Answered {
    /// When the request was sent.
    sent: Moment,
    last: u64,
}

/// What the server said of a grant.
#[derive(Clone, Copy)]
struct Handed {
    heard: Moment,
    fence: u64,
    /// How long before the grant the server heard of the waiter.
    since: Duration,
}

/// A claim that gave up. A request of it may still be under way and put it into the queue once more.
struct Gone {
    at: Moment,
    owner: Owner,
    release: Arc<Call>,
}

/// The promise to hand what the server hands to a claim on to core; ends when dropped.
pub(crate) struct Promise {
    places: Arc<Places>,
    owner: Owner,
}

/// A request of a claim that waits, before it is sent.
pub(crate) struct Asking<'p> {
    places: &'p Places,
    owner: Owner,
    sent: Moment,
}

/// How many claims that gave up are remembered at most.
const REMEMBERED: usize = 1024;

impl Places {
    pub(crate) fn new(site: Site, queue: Queue) -> Arc<Self> {
        Arc::new(Self { site, queue, state: Mutex::default() })
    }

    /// Where this process listens.
    pub(crate) fn channel(&self) -> String {
        self.queue.channel()
    }

    /// How often a waiter has to ask again.
    pub(crate) fn recheck(&self) -> Duration {
        self.queue.recheck()
    }

    /// A claim is about to ask for a lock, and for a place in its queue.
    pub(crate) fn asks(&self, claim: &Claim) -> Asking<'_> {
        self.state().waiting.entry(claim.owner()).or_insert_with(|| Place::new(claim));
        Asking { places: self, owner: claim.owner(), sent: self.site.now() }
    }

    /// Core can take a grant for a claim from now on.
    pub(crate) fn promise(self: Arc<Self>, claim: &Claim) -> Promise {
        let owner = claim.owner();
        self.state().waiting.entry(owner).or_insert_with(|| Place::new(claim)).promised = true;
        self.settle(owner);
        Promise { places: self, owner }
    }

    /// A claim gave up, which `release` tells the server.
    pub(crate) fn gives_up(&self, claim: &Claim, release: Arc<Call>) {
        let (now, long_ago) = (self.site.now(), self.queue.recheck() * 12);
        let mut state = self.state();
        state.waiting.remove(&claim.owner());
        while state.gone.len() >= REMEMBERED
            || state.gone.front().is_some_and(|gone| now.since(gone.at) > long_ago)
        {
            state.gone.pop_front();
        }
        state.gone.push_back(Gone { at: now, owner: claim.owner(), release });
    }

    /// The server says something to this process. Returns what must be said to it, if it granted the
    /// lock to somebody who is gone.
    pub(crate) fn hear(&self, message: &[u8]) -> Option<Arc<Call>> {
        let mut words = std::str::from_utf8(message).ok()?.split(' ');
        let owner: Owner = words.next()?.parse().ok()?;
        let handed = match (words.next(), words.next()) {
            (Some(fence), Some(since)) => Handed {
                heard: self.site.now(),
                fence: fence.parse().ok()?,
                since: Duration::from_millis(since.parse().ok()?),
            },
            _ => {
                self.site.recheck(owner);
                return None;
            }
        };
        let mut state = self.state();
        if let Some(place) = state.waiting.get_mut(&owner) {
            place.handed = Some(handed);
            drop(state);
            self.settle(owner);
            return None;
        }
        state.gone.iter().find(|gone| gone.owner == owner).map(|gone| gone.release.clone())
    }

    /// Hands a grant to core once all is known that it takes.
    fn settle(&self, owner: Owner) {
        let mut state = self.state();
        let Some(place) = state.waiting.get_mut(&owner) else { return };
        match place.verdict(self.site.now()) {
            Verdict::Nothing => {}
            // Outside of the mutex: who is told may come back at once.
            Verdict::AskAgain => {
                drop(state);
                self.site.recheck(owner);
            }
            Verdict::Take(granted) => {
                let place = state.waiting.remove(&owner);
                drop(state);
                if let Some(place) = place {
                    // Who gives up at this moment abandons the claim, which releases the grant.
                    let _ = self.site.deliver(&place.key, owner, granted);
                }
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What follows from what is known of a place.
#[derive(Debug)]
enum Verdict {
    Nothing,
    AskAgain,
    Take(Granted<()>),
}

impl Place {
    fn new(claim: &Claim) -> Self {
        Self::of(claim.key(), fair::life(claim))
    }

    fn of(key: &str, life: Duration) -> Self {
        Self { key: key.into(), life, answered: None, handed: None, promised: false }
    }

    fn verdict(&mut self, now: Moment) -> Verdict {
        let Some(answered) = self.answered.filter(|_| self.promised) else { return Verdict::Nothing };
        let Some(handed) = self.handed.take() else { return Verdict::Nothing };
        if handed.fence <= answered.last {
            return Verdict::Nothing;
        }
        let since = handed.heard.min(answered.sent + handed.since);
        if since.valid_for(self.life) <= now {
            // Too late to be believed; the server may still have it for this claim.
            return Verdict::AskAgain;
        }
        let granted = Granted::new((), Fence::new(handed.fence), Lease::For(self.life));
        Verdict::Take(granted.since(since))
    }
}

impl Asking<'_> {
    /// Takes in the answer; `None` if none came.
    pub(crate) fn answered(self, reply: Option<&Reply>) {
        let mut state = self.places.state();
        let last = reply.and_then(fair::queued);
        match (last, state.waiting.get_mut(&self.owner)) {
            (Some(last), Some(place)) => place.answered = Some(Answered { sent: self.sent, last }),
            // It has the lock, or it was refused: nothing that was heard before counts.
            (None, Some(place)) if place.promised && reply.is_some() => {
                (place.answered, place.handed) = (None, None);
            }
            (None, Some(place)) if !place.promised => drop(state.waiting.remove(&self.owner)),
            _ => {}
        }
        drop(state);
        self.places.settle(self.owner);
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        self.places.state().waiting.remove(&self.owner);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Moment = Moment::from_nanos(1_000_000_000_000);
    const LIFE: Duration = Duration::from_secs(10);

    /// A place whose last answered request was sent at `NOW` and told a fence of 5, and that hears of a
    /// grant `later`, made three seconds after that request.
    fn told(fence: u64, later: Duration) -> (Place, Moment) {
        let mut place = Place::of("lock:x", LIFE);
        let heard = NOW + later;
        (place.promised, place.answered) = (true, Some(Answered { sent: NOW, last: 5 }));
        place.handed = Some(Handed { heard, fence, since: Duration::from_secs(3) });
        (place, heard)
    }

    #[test]
    fn a_lease_is_counted_from_before_the_grant_however_late_its_message_comes() {
        // Heard at once; and after eleven of the thirteen seconds that the server keeps it.
        for (later, left) in [(3, 10), (11, 2)] {
            let (mut place, heard) = told(6, Duration::from_secs(later));
            let Verdict::Take(granted) = place.verdict(heard) else { panic!("it was not taken") };
            let since = heard.min(NOW + Duration::from_secs(3));
            assert_eq!(
                format!("{granted:?}"),
                format!("{:?}", Granted::new((), Fence::new(6), Lease::For(LIFE)).since(since))
            );
            assert!((since + LIFE).since(heard) == Duration::from_secs(left));
        }
    }

    #[test]
    fn a_grant_from_before_the_last_answer_is_refused() {
        for fence in [1, 5] {
            let (mut place, heard) = told(fence, Duration::from_secs(3));
            assert!(matches!(place.verdict(heard), Verdict::Nothing));
        }
    }

    #[test]
    fn a_grant_that_was_heard_of_too_late_is_asked_for_again() {
        let (mut place, heard) = told(6, Duration::from_secs(13));
        assert!(matches!(place.verdict(heard), Verdict::AskAgain));
    }

    #[test]
    fn a_grant_waits_until_its_request_is_answered_and_core_can_take_it() {
        let (place, heard) = told(6, Duration::from_secs(3));
        let (mut early, answered) = (place, Some(Answered { sent: NOW, last: 5 }));
        (early.answered, early.promised) = (None, false);
        assert!(matches!(early.verdict(heard), Verdict::Nothing));
        early.answered = answered;
        assert!(matches!(early.verdict(heard), Verdict::Nothing));
        early.promised = true;
        assert!(matches!(early.verdict(heard), Verdict::Take(_)));
    }
}
