//! The trait of those who write a backend, and what it asks and answers.

use std::any::Any;
use std::fmt;
use std::panic::Location;
use std::time::Duration;

use crate::{Claim, Fence, Moment, Result, Site};

/// A store of locks.
///
/// Four methods speak to the store: [`try_acquire`](Self::try_acquire), [`renew`](Self::renew),
/// [`release`](Self::release) and, where the store can notify, [`watch`](Self::watch). Each answers
/// at once; waiting, renewing in time, retrying and giving up are core's. A backend is a cheap
/// handle (usually one `Arc`), so that a lock can own a copy of it.
///
/// # Implementors
///
/// * Contention is an answer ([`Attempt::Denied`]), never an error, and an error is never taken for
///   contention. A store that does not answer is [`Unavailable`](crate::Kind::Unavailable) after a
///   time limit of the backend's own; no method may hang.
/// * Every method can be called again with the same claim after an error, and then gives the true
///   answer: an acquire that was carried out before returns the same fence again.
/// * `renew` and `release` compare the owner and act in one atomic step of the store.
/// * The store judges the lifetime, by its own clock, and never ends it earlier than asked.
/// * Compare keys byte by byte. [`Limits`](crate::Limits) helps where a store cannot take every key.
/// * Mark errors with [`Error::settled`](crate::Error::settled) if nothing was sent.
///
/// `tenure-conformance` holds every backend to the whole contract.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a lock store",
    label = "not a `Backend`",
    note = "pass a store such as `Files`, `LocMem` or `AnyBackend`, by value, by `&`, or in an `Arc` or `Box`"
)]
pub trait Backend: Send + Sync {
    /// What the backend keeps of a grant: nothing, plain data, or a resource such as an open file.
    ///
    /// A resource that is dropped without [`release`](Self::release) had an unclean end and must
    /// discard itself: close the file, throw the pinned connection away.
    type Grant: Send + Sync + 'static;

    /// The owned form of this backend; `Self` for the backend itself.
    type Handle: Backend<Grant = Self::Grant, Handle = Self::Handle> + Clone + 'static;

    /// A copy to be kept in a lock.
    fn handle(&self) -> Self::Handle;

    /// Identity, settings and waiting rooms of the store; one per connection, shared by its clones.
    fn site(&self) -> &Site;

    /// Asks once for the lock.
    ///
    /// # Errors
    ///
    /// `Unavailable`, `Quarantined`, `Misconfigured` or `InvalidName`; never `Contended`.
    fn try_acquire(&self, claim: &Claim) -> Result<Attempt<Self::Grant>>;

    /// Sets the remaining life of a grant to [`Renewal::ttl`] from now, be it more or less than
    /// before. With [`Duration::MAX`], as for a session, it only verifies that the grant stands.
    ///
    /// # Errors
    ///
    /// `Lost` if the store no longer has the grant for this owner; `Unavailable` if it is not known.
    fn renew(&self, due: Renewal<'_, Self::Grant>) -> Result<()>;

    /// Ends a grant, at once or, if [`Release::keep`] says so, after that time.
    ///
    /// Either way the owner's token is worth nothing afterwards: a renewal that was under way must
    /// not extend what is left. Releasing a grant that was
    /// [force-released](crate::Inspect::force_release) acknowledges that and opens the name.
    ///
    /// # Errors
    ///
    /// `Lost` if the store no longer has the grant for this owner; `Unavailable` if it is not known.
    fn release(&self, end: Release<'_, Self::Grant>) -> Result<()>;

    /// Undoes whatever an acquire with an unknown outcome, or a watch, may have left behind. Called
    /// from a background thread, once, and not tried again.
    fn abandon(&self, claim: &Claim) {
        if let Ok(Attempt::Granted(granted)) = self.try_acquire(claim) {
            let _ = self.release(Release::new(claim, &granted.grant, None));
        }
    }

    /// Arranges for [`Site::notify`] or [`Site::deliver`] to be called when the lock may be free.
    /// The default says that nobody will, so that core asks every
    /// [`sleep`](crate::Settings::sleep).
    ///
    /// # Errors
    ///
    /// `Unavailable` if the store did not answer; core then falls back to asking.
    fn watch(&self, claim: &Claim) -> Result<Watch> {
        let _ = claim;
        Ok(Watch::none())
    }

    /// Whether other processes are known to wait for this lock. Asked now and then of a process that
    /// gets it again and again, which then steps back for a moment.
    fn is_awaited(&self, claim: &Claim) -> bool {
        let _ = claim;
        false
    }

    /// Renews many grants, in one round trip where the store can. Answers in the same order.
    fn renew_many(&self, due: &[Renewal<'_, Self::Grant>]) -> Vec<Result<()>> {
        due.iter().map(|due| self.renew(*due)).collect()
    }

    /// What is risky about this store as it is set up, for logs and for `tenure status`.
    fn diagnose(&self) -> Vec<Advice> {
        Vec::new()
    }
}

/// A backend in its owned form, as a [`Lock`](crate::Lock) keeps it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be kept in a lock",
    label = "not an owned backend",
    note = "name the store's own type here, such as `Lock<Files>`, not a reference or an `Arc` of it; \
            `Lock::new` accepts those and stores the owned form"
)]
pub trait Handle: Backend<Handle = Self> + Clone + 'static {}

// So that the message of the trait is shown, and not the one of its parts.
#[diagnostic::do_not_recommend]
impl<B: Backend<Handle = B> + Clone + 'static> Handle for B {}

/// The answer to one request for a lock.
#[derive(Debug)]
pub enum Attempt<G> {
    /// It is yours.
    Granted(Granted<G>),
    /// Somebody holds it.
    Denied(Denied),
}

/// A grant.
#[derive(Debug)]
pub struct Granted<G> {
    pub(crate) grant: G,
    pub(crate) fence: Fence,
    pub(crate) lease: Lease,
    pub(crate) since: Option<Moment>,
}

impl<G> Granted<G> {
    /// A grant with its fence and the lifetime that the store really gave.
    #[inline]
    pub fn new(grant: G, fence: Fence, lease: Lease) -> Self {
        Self { grant, fence, lease, since: None }
    }

    /// Says from when the holder may count its validity: the moment before the request was sent
    /// that the store's clock started on. Without it, the moment before the call counts. A grant
    /// that is [delivered](Site::deliver) must have it, unless its lease is a session.
    #[inline]
    #[must_use]
    pub fn since(mut self, sent: Moment) -> Self {
        self.since = Some(sent);
        self
    }

    /// The fence.
    pub fn fence(&self) -> Fence {
        self.fence
    }

    /// The same with what a store that stands before this one keeps of it.
    pub fn map<H>(self, convert: impl FnOnce(G) -> H) -> Granted<H> {
        let Self { grant, fence, lease, since } = self;
        Granted { grant: convert(grant), fence, lease, since }
    }
}

/// The lifetime that a store gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lease {
    /// Ends after this time unless it is renewed.
    For(Duration),
    /// Lasts until it is released or the store sees the holder's end.
    Session,
}

/// Why not now.
#[derive(Clone, Copy, Debug, Default)]
pub struct Denied {
    pub(crate) retry_after: Option<Duration>,
    pub(crate) holder: Option<Fence>,
    pub(crate) place: Option<&'static Location<'static>>,
    pub(crate) queued: bool,
}

impl Denied {
    /// Somebody holds it.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// It is free after this time if nobody renews it.
    #[must_use]
    pub fn retry_after(self, remaining: Duration) -> Self {
        Self { retry_after: Some(remaining), ..self }
    }

    /// The fence of the grant in the way.
    #[must_use]
    pub fn holder(self, fence: Fence) -> Self {
        Self { holder: Some(fence), ..self }
    }

    /// After what time it is free if nobody renews it, where that is known.
    #[must_use]
    pub fn remaining(&self) -> Option<Duration> {
        self.retry_after
    }

    /// The fence of the grant in the way, where that is known.
    #[must_use]
    pub fn fence(&self) -> Option<Fence> {
        self.holder
    }

    /// The holder is in this very process and asked at this place.
    #[must_use]
    pub fn held_at(self, place: &'static Location<'static>) -> Self {
        Self { place: Some(place), ..self }
    }

    /// The claim, which [waits](Claim::waits), has a place in the store's own queue now. Core asks for
    /// the promise to [deliver](Site::deliver) next, and [abandons](Backend::abandon) a claim that gives up.
    #[must_use]
    pub fn queued(self) -> Self {
        Self { queued: true, ..self }
    }
}

/// One renewal that is due.
pub struct Renewal<'a, G> {
    claim: &'a Claim,
    grant: &'a G,
    ttl: Duration,
}

impl<'a, G> Renewal<'a, G> {
    /// A renewal to `ttl` from now.
    #[inline]
    #[must_use]
    pub fn new(claim: &'a Claim, grant: &'a G, ttl: Duration) -> Self {
        Self { claim, grant, ttl }
    }

    /// Whose.
    #[inline]
    #[must_use]
    pub fn claim(&self) -> &'a Claim {
        self.claim
    }

    /// What the backend kept of the grant.
    #[inline]
    #[must_use]
    pub fn grant(&self) -> &'a G {
        self.grant
    }

    /// The remaining life to set, counted from the store's now; [`Duration::MAX`] to change nothing
    /// and only verify that the grant stands.
    #[inline]
    #[must_use]
    pub fn ttl(&self) -> Duration {
        self.ttl
    }

    /// The same renewal of another form of the grant, for backends that wrap another.
    #[must_use]
    pub fn with_grant<H>(self, grant: &'a H) -> Renewal<'a, H> {
        Renewal { claim: self.claim, grant, ttl: self.ttl }
    }
}

impl<G> Clone for Renewal<'_, G> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<G> Copy for Renewal<'_, G> {}

impl<G> fmt::Debug for Renewal<'_, G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Renewal").field("claim", self.claim).field("ttl", &self.ttl).finish_non_exhaustive()
    }
}

/// The end of one grant.
pub struct Release<'a, G> {
    claim: &'a Claim,
    grant: &'a G,
    keep: Option<Duration>,
}

impl<'a, G> Release<'a, G> {
    /// A release, with the time for which the name stays taken although nobody owns it any more.
    #[must_use]
    pub fn new(claim: &'a Claim, grant: &'a G, keep: Option<Duration>) -> Self {
        Self { claim, grant, keep }
    }

    /// Whose.
    #[must_use]
    pub fn claim(&self) -> &'a Claim {
        self.claim
    }

    /// What the backend kept of the grant.
    #[must_use]
    pub fn grant(&self) -> &'a G {
        self.grant
    }

    /// How long the name stays taken from now on, whatever becomes of the process; `None` frees it
    /// at once.
    #[inline]
    #[must_use]
    pub fn keep(&self) -> Option<Duration> {
        self.keep
    }

    /// The same release of another form of the grant, for backends that wrap another.
    #[must_use]
    pub fn with_grant<H>(self, grant: &'a H) -> Release<'a, H> {
        Release { claim: self.claim, grant, keep: self.keep }
    }
}

impl<G> Clone for Release<'_, G> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<G> Copy for Release<'_, G> {}

impl<G> fmt::Debug for Release<'_, G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Release").field("claim", self.claim).field("keep", &self.keep).finish_non_exhaustive()
    }
}

/// The store's promise to notify, kept until it is dropped.
///
/// Dropping it must not speak to the store: a place in the store's own queue is left by
/// [`Backend::abandon`].
pub struct Watch {
    armed: Option<Box<dyn Any + Send + Sync>>,
    queued: bool,
    in_turn: bool,
    recheck: Option<Duration>,
}

impl Watch {
    /// No promise: core asks every [`sleep`](crate::Settings::sleep).
    #[must_use]
    pub fn none() -> Self {
        Self { armed: None, queued: false, in_turn: false, recheck: None }
    }

    /// A promise about the name, to whoever waits for it, until `registration` is dropped.
    #[must_use]
    pub fn armed(registration: impl Any + Send + Sync) -> Self {
        Self { armed: Some(Box::new(registration)), ..Self::none() }
    }

    /// A promise to this claim, which has a place in the store's own queue now. Another claim must
    /// ask for its own, and a claim that gives up is [abandoned](Backend::abandon).
    #[must_use]
    pub fn queued(registration: impl Any + Send + Sync) -> Self {
        Self { armed: Some(Box::new(registration)), queued: true, ..Self::none() }
    }

    /// Says that processes are told in turn, when the lock is free and when a holder's lease ends: those
    /// that have waited longer come before one that has just had the lock, and that one is told too if
    /// none of them comes. Core then leaves the order of processes to the store.
    #[must_use]
    pub fn in_turn(self) -> Self {
        Self { in_turn: true, ..self }
    }

    /// Asks for an attempt with the same claim at least this often, as a place in a store's queue
    /// may need.
    #[must_use]
    pub fn recheck_within(self, interval: Duration) -> Self {
        Self { recheck: Some(interval), ..self }
    }

    pub(crate) fn is_armed(&self) -> bool {
        self.armed.is_some()
    }

    pub(crate) fn is_queued(&self) -> bool {
        self.queued
    }

    pub(crate) fn is_in_turn(&self) -> bool {
        self.in_turn
    }

    pub(crate) fn recheck(&self) -> Option<Duration> {
        self.recheck
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("armed", &self.is_armed()).field("recheck", &self.recheck).finish()
    }
}

/// Something risky about a store as it is set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advice {
    risk: Box<str>,
    remedy: Box<str>,
}

impl Advice {
    /// What can go wrong, and what to do about it.
    #[must_use]
    pub fn new(risk: impl Into<Box<str>>, remedy: impl Into<Box<str>>) -> Self {
        Self { risk: risk.into(), remedy: remedy.into() }
    }

    /// What can go wrong.
    #[must_use]
    pub fn risk(&self) -> &str {
        &self.risk
    }

    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> &str {
        &self.remedy
    }
}

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.risk, self.remedy)
    }
}
