//! What stands behind a held lock: the grant, how long to believe in it, and who wants to know of
//! its loss.

mod blocking;
mod end;
mod loss;
mod polled;
mod roles;

pub(crate) use end::End;

use std::sync::{Arc, PoisonError, Weak};
use std::task::Waker;
use std::time::Duration;

use crate::engine::Key;
use crate::observe::{self, Event, HeldFor, Hold, IS_TOLD};
use crate::policy::{Jitter, first_renewal, retry_renewal};
use crate::port::Port;
use crate::site::HeldHere;
use crate::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use crate::sync::{Condvar, Mutex, MutexGuard};
use crate::turns::{Turn, Turns};
use crate::{
    Cause, Claim, Error, Fence, Granted, Lease as Lifetime, Moment, Result, Site, Status, Term, Ttl,
    callbacks,
};

/// A grant in use, of a store that is spoken to through `P`.
pub(crate) struct Lease<P: Port> {
    port: P,
    claim: Claim,
    grant: P::Grant,
    fence: Fence,
    /// When the answer came, so that the grant began no later; unread where nothing needs it.
    granted_at: Option<Moment>,
    phase: AtomicU8,
    /// Until when the holder believes, and until when the store may keep it; nanoseconds.
    valid_until: AtomicU64,
    stored_until: AtomicU64,
    renew_at: AtomicU64,
    failures: AtomicU32,
    /// How often the store may have forgotten it; an answer counts if it is to a request after that.
    doubts: AtomicU32,
    kept: AtomicBool,
    renewing: AtomicBool,
    /// Whether nothing was done under it, so that its name need not stay taken.
    unused: AtomicBool,
    /// Whether there ever was anything in `watch` to be undone.
    is_watched: AtomicBool,
    /// One request that changes the lifetime at a time.
    exchange: Turns,
    watch: Mutex<Watch>,
    lost: Condvar,
    hold: Hold,
}

#[derive(Default)]
struct Watch {
    timer: Option<Key>,
    listed: bool,
    callbacks: Vec<callbacks::Callback>,
    /// Tasks that wait for the loss, each under a number of its own.
    tasks: Vec<(u64, Waker)>,
    last_task: u64,
}

const HELD: u8 = 0;
const UNKNOWN: u8 = 1;
/// Released or dropped: nobody's business any more.
const ENDED: u8 = 2;
/// From here on, lost, and why.
const LOST: u8 = 3;
const CAUSES: [Cause; 4] = [Cause::Expired, Cause::Superseded, Cause::Forced, Cause::Released];

impl<P: Port> Lease<P> {
    /// Begins to hold. `sent` is when the request went out, or `None` in a store inside the process.
    pub(crate) fn begin(
        port: P,
        claim: Claim,
        granted: Granted<P::Grant>,
        sent: Option<Moment>,
    ) -> Arc<Self> {
        let Granted { grant, fence, lease: lifetime, since } = granted;
        let direct = port.site().is_direct();
        if !direct {
            // A store inside the process knows all its fences.
            claim.seen(fence);
        }
        claim.tally().granted(fence);
        let kept = matches!(claim.term(), Term::Kept(_));
        let timed = matches!(lifetime, Lifetime::For(_));
        let hold_at_least = claim.target().hold_at_least.is_some();
        let now = (IS_TOLD || !direct || timed || hold_at_least).then(|| port.site().now());
        let (valid_until, stored_until) = match (lifetime, now) {
            (Lifetime::For(ttl), Some(now)) => {
                let since = since.or(sent).unwrap_or(now);
                (since.valid_for(ttl).as_nanos(), (now + ttl).as_nanos())
            }
            _ => (u64::MAX, u64::MAX),
        };
        // A session is not renewed, but looked at now and then: it may have been broken.
        let renews = if timed { kept } else { !direct };
        let lease = Arc::new(Self {
            granted_at: now,
            phase: AtomicU8::new(HELD),
            valid_until: AtomicU64::new(valid_until),
            stored_until: AtomicU64::new(stored_until),
            renew_at: AtomicU64::new(u64::MAX),
            failures: AtomicU32::new(0),
            doubts: AtomicU32::new(0),
            kept: AtomicBool::new(renews),
            renewing: AtomicBool::new(false),
            unused: AtomicBool::new(false),
            is_watched: AtomicBool::new(false),
            exchange: Turns::default(),
            watch: Mutex::default(),
            lost: Condvar::new(),
            hold: Hold::begin(port.site()),
            port,
            claim,
            grant,
            fence,
        });
        if !direct {
            lease.list(&mut lease.watch());
        }
        if renews {
            lease.schedule(sent.or(now).unwrap_or_else(|| lease.now()));
            lease.watch_from(&mut lease.watch(), lease.next_look());
        }
        // While the answer was on its way, it was not among those that the site doubts.
        if let Some(sent) = sent
            && lease.site().doubts(lease.claim.key(), sent)
        {
            lease.doubt();
        }
        lease
    }

    pub(crate) fn claim(&self) -> &Claim {
        &self.claim
    }

    pub(crate) fn grant(&self) -> &P::Grant {
        &self.grant
    }

    pub(crate) fn fence(&self) -> Fence {
        self.fence
    }

    /// Until when it is believed in; `None` for a session.
    pub(crate) fn deadline(&self) -> Option<Moment> {
        match self.valid_until.load(Ordering::SeqCst) {
            u64::MAX => None,
            nanos => Some(Moment::from_nanos(nanos)),
        }
    }

    pub(crate) fn max_ttl(&self) -> Ttl {
        self.site().settings().max_ttl()
    }

    /// Whether it had run out before it could begin.
    pub(crate) fn has_ended(&self) -> bool {
        self.is_over()
    }

    /// Whether another process's copy of this memory is running: a forked child.
    pub(crate) fn is_foreign(&self) -> bool {
        let ours = self.claim.process();
        ours != 0 && ours != std::process::id()
    }

    pub(crate) fn status(self: &Arc<Self>) -> Status {
        if self.site().is_direct() && self.phase.load(Ordering::SeqCst) == HELD && !self.is_over() {
            // The store is memory of this process: asking it costs nothing.
            self.verify();
        }
        match self.phase.load(Ordering::SeqCst) {
            HELD | UNKNOWN if self.is_over() => {
                self.lose(Cause::Expired);
                self.status()
            }
            HELD => Status::Held,
            UNKNOWN => Status::Unknown,
            ENDED => Status::Lost(Cause::Released),
            lost => Status::Lost(CAUSES[usize::from(lost - LOST)]),
        }
    }

    /// Renews from now on until it is released.
    pub(crate) fn keep_alive(self: &Arc<Self>) {
        if self.deadline().is_none() {
            return;
        }
        // Under the watch's mutex, so that a `renew_for` at the same time comes before or after.
        let mut watch = self.watch();
        if !self.kept.swap(true, Ordering::SeqCst) {
            self.renew_at.store(0, Ordering::SeqCst);
            self.watch_from(&mut watch, self.now());
        }
    }

    /// Begins a request that changes the lifetime: what is asked for is told by `prepare`.
    fn begin_exchange(self: &Arc<Self>, prepare: impl FnOnce(Moment) -> Duration) -> Result<Exchange> {
        if let Status::Lost(cause) = self.status() {
            return Err(self.error(Error::lost(cause)));
        }
        let (doubts, sent) = (self.doubts.load(Ordering::SeqCst), self.now());
        Ok(Exchange { sent, ttl: prepare(sent), doubts })
    }

    /// Takes in the answer to such a request, or that none will come. What the engine finds in an
    /// exchange, it leaves alone until it is told to look again; so the turn ends before that.
    fn end_exchange(
        self: &Arc<Self>,
        exchange: Exchange,
        answer: Result<()>,
        turn: Option<Turn<'_>>,
    ) -> Result<()> {
        let answer = self.settle(exchange, answer);
        drop(turn);
        self.watch_again();
        answer.map_err(|error| self.error(error))
    }

    /// A request that was dropped before its answer may have been carried out all the same.
    fn unanswered(self: &Arc<Self>, exchange: Exchange, turn: Option<Turn<'_>>) {
        drop(self.end_exchange(exchange, blocking::unanswered(), turn));
    }

    /// A lease that is to last for `ttl` from now, and is not renewed by the engine any more.
    fn prepare_renew_for(self: &Arc<Self>, sent: Moment, ttl: Ttl) -> Duration {
        let mut watch = self.watch();
        self.kept.store(false, Ordering::SeqCst);
        self.renew_at.store(u64::MAX, Ordering::SeqCst);
        // Belief goes down before a shortening request goes out: its answer may get lost.
        self.valid_until.fetch_min(sent.valid_for(ttl.get()).as_nanos(), Ordering::SeqCst);
        self.list(&mut watch);
        ttl.get()
    }

    fn refuse_lifetime_of_session(&self) -> Result<()> {
        if self.claim.term() != Term::Session {
            return Ok(());
        }
        let refused = "a session lock has no lease to set; take the lock with a ttl instead";
        Err(self.error(Error::misconfigured(refused)))
    }

    /// Whether a renewal that was due is still wanted now that it would go out.
    fn is_to_be_renewed(&self) -> bool {
        self.phase.load(Ordering::SeqCst) < ENDED && self.kept.load(Ordering::SeqCst)
    }

    /// A renewal by the engine is over, or did not go out; it may be due again.
    fn end_renewal(&self) {
        self.renewing.store(false, Ordering::SeqCst);
        // Whoever changes the lifetime now tells the engine to look when that is done. To look before
        // would be in vain, again and again.
        if self.exchange.try_take().is_some() {
            self.watch_again();
        }
    }

    /// A renewal by the engine, as it goes out at `sent`.
    fn routine_exchange(&self, sent: Moment) -> Exchange {
        let doubts = self.doubts.load(Ordering::SeqCst);
        Exchange { sent, ttl: self.routine_ttl(sent), doubts }
    }

    /// What a renewal asks for: the lease's lifetime, or what the store may still have left, since
    /// renewing never shortens; no end for what has none.
    fn routine_ttl(&self, sent: Moment) -> Duration {
        match (self.deadline(), self.claim.term().ttl()) {
            (Some(_), Some(ttl)) => {
                let stored_until = Moment::from_nanos(self.stored_until.load(Ordering::SeqCst));
                ttl.get().max(stored_until.since(sent))
            }
            _ => Duration::MAX,
        }
    }

    fn unlist(&self) {
        if !self.is_watched.load(Ordering::SeqCst) {
            return;
        }
        let mut watch = self.watch();
        let timer = watch.timer.take();
        let listed = std::mem::take(&mut watch.listed);
        drop(watch);
        if let Some(timer) = timer {
            self.site().engine().unwatch(timer);
        }
        if listed {
            self.site().let_go(self.claim.key(), self.claim.owner());
        }
    }

    fn list(self: &Arc<Self>, watch: &mut Watch) {
        if !std::mem::replace(&mut watch.listed, true) {
            self.is_watched.store(true, Ordering::SeqCst);
            let lease: Weak<Self> = Arc::downgrade(self);
            self.site().hold(self.claim.key(), lease);
        }
    }

    fn watch_from(self: &Arc<Self>, watch: &mut Watch, at: Moment) {
        match watch.timer {
            Some(timer) => self.site().engine().rewatch(timer, at),
            None => {
                self.is_watched.store(true, Ordering::SeqCst);
                let lease: Weak<Self> = Arc::downgrade(self);
                let ours = self.claim.process();
                let process = if ours == 0 { std::process::id() } else { ours };
                watch.timer = Some(self.site().engine().watch(at, lease, process));
            }
        }
    }

    /// Moves the engine's next look to where the lease's new state wants it.
    fn watch_again(&self) {
        // Under the watch's mutex: a doubt in between would be overwritten by the look from before it.
        let watch = self.watch();
        if let Some(timer) = watch.timer
            && self.phase.load(Ordering::SeqCst) < ENDED
        {
            self.site().engine().rewatch(timer, self.next_look());
        }
    }

    fn next_look(&self) -> Moment {
        let renew_at = Moment::from_nanos(self.renew_at.load(Ordering::SeqCst));
        self.deadline().unwrap_or(Moment::FAR).min(renew_at)
    }

    /// Plans the next renewal after one that went out at `sent`.
    fn schedule(&self, sent: Moment) {
        if !self.kept.load(Ordering::SeqCst) {
            return;
        }
        let next = match self.claim.term().ttl() {
            // A session needs no renewal, only a look whether it was broken.
            None => first_renewal(sent, self.claim.target().recheck * 3, Jitter::random()),
            Some(ttl) => {
                // With more left than usual, as after `renew_for`, two thirds before its end. That is the
                // end of what is believed: after a slow answer, the store may keep it for longer.
                let ends = Moment::from_nanos(self.valid_until.load(Ordering::SeqCst));
                let spare = ends.since(sent.valid_for(ttl.get()));
                let usual = first_renewal(sent, ttl.get().min(ends.since(sent)), Jitter::random());
                usual + spare
            }
        };
        self.renew_at.store(next.as_nanos(), Ordering::SeqCst);
    }

    /// Takes in the answer to a renewal; what it is worth comes back.
    fn settle(self: &Arc<Self>, exchange: Exchange, answer: Result<()>) -> Result<()> {
        let Exchange { sent, ttl, doubts } = exchange;
        let now = self.now();
        // Under the watch's mutex, so that a doubt comes before or after.
        let watch = self.watch();
        let doubted = self.doubts.load(Ordering::SeqCst) != doubts;
        let answer = answer.and_then(|()| if doubted { Err(forgotten()) } else { Ok(()) });
        match &answer {
            Ok(()) => {
                if ttl != Duration::MAX {
                    self.valid_until.store(sent.valid_for(ttl).as_nanos(), Ordering::SeqCst);
                    self.stored_until.store((now + ttl).as_nanos(), Ordering::SeqCst);
                }
                self.failures.store(0, Ordering::SeqCst);
                let _ = self.phase.compare_exchange(UNKNOWN, HELD, Ordering::SeqCst, Ordering::SeqCst);
                self.schedule(sent);
                drop(watch);
            }
            Err(error) => match error.cause() {
                Some(cause) => {
                    drop(watch);
                    self.lose(cause);
                }
                None => {
                    let failures = self.failures.fetch_add(1, Ordering::SeqCst).saturating_add(1);
                    // The request may have been carried out after all.
                    self.stored_until.fetch_max((now + ttl).as_nanos(), Ordering::SeqCst);
                    let _ = self.phase.compare_exchange(HELD, UNKNOWN, Ordering::SeqCst, Ordering::SeqCst);
                    let deadline = self.deadline().unwrap_or(Moment::FAR);
                    let pace = self.claim.term().ttl().map_or(self.claim.target().recheck * 3, Ttl::get);
                    let next = retry_renewal(now, pace, deadline, failures, Jitter::random());
                    // What the doubt asked for stands: a renewal at once.
                    if self.kept.load(Ordering::SeqCst) && !doubted {
                        self.renew_at.store(next.unwrap_or(deadline).as_nanos(), Ordering::SeqCst);
                    }
                    drop(watch);
                }
            },
        }
        self.tell_renewal(now, &answer);
        answer
    }

    /// For how long it has been held.
    fn held(&self) -> HeldFor {
        HeldFor::since(self.granted_at, || self.now())
    }

    /// It is held no longer; called once.
    fn over(&self) -> HeldFor {
        let held = self.held();
        self.hold.over(self.site(), held);
        held
    }

    /// Tells what the store said to a renewal.
    fn tell_renewal(&self, now: Moment, answer: &Result<()>) {
        if IS_TOLD {
            let remaining = self.deadline().map(|deadline| deadline.since(now));
            self.tell(Event::Renewal { fence: self.fence, remaining, answer });
        }
    }

    fn tell(&self, event: Event<'_>) {
        observe::tell(self.site(), &self.claim, event);
    }

    fn is_over(&self) -> bool {
        self.deadline().is_some_and(|deadline| deadline <= self.now())
    }

    fn site(&self) -> &Site {
        self.port.site()
    }

    pub(crate) fn now(&self) -> Moment {
        self.site().now()
    }

    pub(crate) fn error(&self, error: Error) -> Error {
        error.at(self.site().label()).on(self.claim.name())
    }

    fn watch(&self) -> MutexGuard<'_, Watch> {
        self.watch.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request that changes the lifetime, from its sending to its answer.
#[derive(Clone, Copy)]
struct Exchange {
    sent: Moment,
    ttl: Duration,
    /// How often the lease had been doubted before.
    doubts: u32,
}

fn forgotten() -> Error {
    let forgotten =
        "the store may have forgotten the lock since it answered, as after a fail-over; renew again";
    Error::unavailable(forgotten)
}
