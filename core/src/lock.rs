//! A lock that is not held: its options, and the ways to get it.

use std::fmt;
use std::mem;
use std::panic::{AssertUnwindSafe, Location, RefUnwindSafe, UnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use crate::claim::Target;
use crate::held::{Data, Guard};
use crate::lease::Lease;
use crate::observe::Acquiring;
use crate::options::lock_options;
use crate::port::Blocking;
use crate::wait::{Turn, Wait};
use crate::waiter::with_thread_waker;
use crate::{
    Attempt, Backend, Claim, Error, Granted, Handle, Held, IntoName, Mode, Moment, Owner, Permit, Permits,
    Ran, Restore, Result, Rule, SessionLocks, Shared, SharedLocks, Site, State, Unlocked,
};

/// A named lock of a store, not held ([`Unlocked`]) or held ([`Held`]).
///
/// Whether it is held is part of its type: only a `Lock<B, Held>` can be renewed and released, and
/// `&Lock<B, Held>` as a parameter proves that the caller holds one.
///
/// A `Lock<B, Unlocked>` owns a handle of its store, is cheap to clone, and can be acquired again
/// and again. Acquiring gives a separate value; dropping that releases the lock.
///
/// ```
/// # use tenure_core::{Held, Handle, Lock, Result};
/// # fn demo<B: Handle>(store: B) -> Result<()> {
/// let lock = Lock::new(&store, "nightly report");
/// let held = lock.try_acquire()?;
/// write_report(&held);
/// held.release()?;
/// # Ok(())
/// # }
///
/// fn write_report<B: Handle>(proof: &Lock<B, Held>) {
///     let fence = proof.fence();
///     // Hand the fence to whatever the lock protects.
/// }
/// ```
///
/// What is not held cannot be released:
///
/// ```compile_fail,E0599
/// # use tenure_core::{Handle, Lock};
/// # fn demo<B: Handle>(store: B) {
/// Lock::new(&store, "nightly report").release();
/// # }
/// ```
///
/// A share of a lock is no proof of holding it alone:
///
/// ```compile_fail,E0308
/// # use tenure_core::{Handle, Held, Lock, Result, SharedLocks};
/// # fn write_report<B: Handle>(proof: &Lock<B, Held>) {}
/// # fn demo<B: Handle + SharedLocks>(store: B) -> Result<()> {
/// write_report(&Lock::new(&store, "nightly report").shared().acquire()?);
/// # Ok(())
/// # }
/// ```
#[must_use = "a lock does nothing until it is acquired, and a held lock is released when it is dropped"]
pub struct Lock<B: Handle, S: State = Unlocked> {
    pub(crate) data: S::Data<B>,
}

/// The data of an unlocked lock.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "public only inside a sealed trait")]
pub struct Plan<B> {
    pub(crate) backend: B,
    pub(crate) target: Arc<Target>,
}

impl<B: Handle> Lock<B> {
    /// A lock of a store. Takes the store by value, by `&`, or in an `Arc` or `Box`.
    ///
    /// Speaks to nobody. A name that no lock can have is reported by the first acquire.
    pub fn new<T: Backend<Handle = B>>(store: T, name: impl IntoName) -> Self {
        let target = Arc::new(Target::new(store.site(), name));
        Self { data: Plan { backend: store.handle(), target } }
    }

    /// Lets any number of readers hold the lock while nobody holds it alone.
    ///
    /// Only where the store can; what it cannot do does not compile:
    ///
    /// ```compile_fail,E0277
    /// # use tenure_core::{Handle, Lock};
    /// # fn demo<B: Handle>(store: B) {
    /// let lock = Lock::new(&store, "ledger").shared();
    /// # }
    /// ```
    pub fn shared(self) -> Lock<B, Unlocked<Shared>>
    where
        B: SharedLocks,
    {
        self.option(|target| target.mode = Mode::Shared).ruled()
    }

    /// Lets at most `limit` holders hold the lock at once, from 1 to `u32::MAX`; with 0, every acquire is
    /// `Misconfigured`.
    ///
    /// All should give the same limit. It is not stored: each claim is granted while fewer than its own
    /// limit hold the lock. So of limits that differ the largest is in force as a whole, and who gave a
    /// smaller one waits until fewer than that are left.
    pub fn permit(self, limit: u32) -> Lock<B, Unlocked<Permit>>
    where
        B: Permits,
    {
        self.option(|target| target.mode = Mode::Permit { limit }).ruled()
    }

    fn ruled<R: Rule>(self) -> Lock<B, Unlocked<R>> {
        Lock { data: self.data }
    }
}

lock_options!(Lock, Handle);

// What a panic interrupts is the store's answer; nothing in here is left half done.
impl<B: Handle, S: State> UnwindSafe for Lock<B, S> {}
impl<B: Handle, S: State> RefUnwindSafe for Lock<B, S> {}

/// Acquiring.
impl<B: Handle, R: Rule> Lock<B, Unlocked<R>> {
    /// Gets the lock if it is free, without waiting.
    ///
    /// # Errors
    ///
    /// `Contended` if somebody holds it, this process included: locks are not re-entrant.
    /// `Unavailable` if the store does not answer, within the store's time limit; never taken for
    /// contention. `Quarantined`, `Misconfigured` and `InvalidName` as their kinds say.
    #[track_caller]
    pub fn try_acquire(&self) -> Result<Lock<B, Held<R>>> {
        self.try_as(Owner::random(), Location::caller())
    }

    pub(crate) fn try_as(&self, owner: Owner, place: &'static Location<'static>) -> Result<Lock<B, Held<R>>> {
        let claim = self.claim(owner, place)?;
        Acquiring::begin(self.site(), &claim).run(|| self.try_with(claim))
    }

    /// Waits for the lock as long as it takes.
    ///
    /// Waiters of one process stand in line, and only the first of them speaks to the store. A
    /// store that does not answer at first is an error at once; one that stops answering while
    /// others wait is one after the settings' `recheck`.
    ///
    /// # Errors
    ///
    /// As [`try_acquire`](Self::try_acquire), but never `Contended`.
    #[track_caller]
    pub fn acquire(&self) -> Result<Lock<B, Held<R>>> {
        self.wait(None, Location::caller())
    }

    /// Waits for the lock at most `limit`. Asks at least once.
    ///
    /// # Errors
    ///
    /// `TimedOut` if it was not free in time; its source is the store's last error, if there was
    /// one. Otherwise as [`acquire`](Self::acquire).
    #[track_caller]
    pub fn acquire_for(&self, limit: Duration) -> Result<Lock<B, Held<R>>> {
        self.wait(Some(self.site().now() + limit), Location::caller())
    }

    /// Waits for the lock until `deadline`, an [`Instant`](std::time::Instant) or a [`Moment`].
    /// Asks at least once.
    ///
    /// # Errors
    ///
    /// As [`acquire_for`](Self::acquire_for).
    #[track_caller]
    pub fn acquire_until(&self, deadline: impl Into<Moment>) -> Result<Lock<B, Held<R>>> {
        self.wait(Some(deadline.into()), Location::caller())
    }

    /// Waits for the lock, runs `work` with it, and releases it, also when `work` panics.
    ///
    /// ```
    /// # use tenure_core::{Handle, Lock, Result};
    /// # fn demo<B: Handle>(store: B) -> Result<()> {
    /// let sum = Lock::new(&store, "ledger").run(|held| 2 + 2)?.kept()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`acquire`](Self::acquire); `work` was not run then. That the lock was lost meanwhile is
    /// told by [`Ran`].
    #[track_caller]
    pub fn run<T>(&self, work: impl FnOnce(&Lock<B, Held<R>>) -> T) -> Result<Ran<T>> {
        let held = self.acquire()?;
        let value = work(&held);
        Ok(Ran::new(value, held.release()))
    }

    /// Takes up a lock that this owner holds: re-acquires it without inserting anything.
    ///
    /// The owner token comes from [`owner`](Lock::owner) of the held lock, in this process or
    /// another one. The lock's life is set as for a new grant. Whoever held it before shares it
    /// now, and should let go of it; acquire with [`release_on_drop(false)`](Self::release_on_drop)
    /// what is to be handed over.
    ///
    /// # Errors
    ///
    /// `Lost` if the store does not have the lock for this owner; otherwise as
    /// [`try_acquire`](Self::try_acquire).
    #[track_caller]
    pub fn restore(&self, owner: Owner) -> Result<Lock<B, Held<R>>>
    where
        B: Restore,
    {
        let claim = self.claim(owner, Location::caller())?;
        Acquiring::begin(self.site(), &claim).run(|| {
            claim.tally().asked();
            let sent = self.site().now();
            let granted = self.data.backend.restore(&claim).map_err(|error| self.error(error))?;
            self.begin(claim, granted, Some(sent))
        })
    }

    fn try_with(&self, claim: Claim) -> Result<Lock<B, Held<R>>> {
        claim.tally().asked();
        let sent = self.sent();
        match self.or_leave_nothing(&claim, || self.data.backend.try_acquire(&claim)) {
            Ok(Attempt::Granted(granted)) => self.begin(claim, granted, sent),
            Ok(Attempt::Denied(denied)) => Err(self.error(Error::contended(denied))),
            Err(error) => {
                if !error.is_settled() {
                    self.abandon_later(claim);
                }
                Err(self.error(error))
            }
        }
    }

    /// Asks the store once.
    fn ask(&self, claim: &Claim) -> Result<Answer<B, R>> {
        claim.tally().asked();
        let sent = self.sent();
        match self.data.backend.try_acquire(claim).map_err(|error| self.error(error))? {
            Attempt::Granted(granted) => self.begin_waiting(claim, granted, sent).map(Answer::Held),
            Attempt::Denied(denied) => Ok(Answer::Denied(denied)),
        }
    }

    fn begin(
        &self,
        claim: Claim,
        granted: Granted<B::Grant>,
        sent: Option<Moment>,
    ) -> Result<Lock<B, Held<R>>> {
        let held = self.hold(claim, granted, sent);
        if held.data.0.lease().has_ended() {
            drop(held.release());
            return Err(self.error(Error::granted_too_late().settled()));
        }
        Ok(held)
    }

    /// As [`begin`](Self::begin), for a claim that may ask again: what came too late is not released, or
    /// a release that arrives late would end what the same token gets next.
    fn begin_waiting(
        &self,
        claim: &Claim,
        granted: Granted<B::Grant>,
        sent: Option<Moment>,
    ) -> Result<Lock<B, Held<R>>> {
        let held = self.hold(claim.clone(), granted, sent);
        if held.data.0.lease().has_ended() {
            held.data.0.forget();
            return Err(self.error(Error::granted_too_late()));
        }
        Ok(held)
    }

    fn hold(&self, claim: Claim, granted: Granted<B::Grant>, sent: Option<Moment>) -> Lock<B, Held<R>> {
        let port = Blocking(self.data.backend.clone());
        Lock { data: Data(Guard::new(Lease::begin(port, claim, granted, sent))) }
    }

    pub(crate) fn wait(
        &self,
        until: Option<Moment>,
        place: &'static Location<'static>,
    ) -> Result<Lock<B, Held<R>>> {
        let claim = self.claim(Owner::random(), place)?.waiting();
        Acquiring::begin(self.site(), &claim).run(|| self.wait_with(claim, until))
    }

    fn wait_with(&self, claim: Claim, until: Option<Moment>) -> Result<Lock<B, Held<R>>> {
        let backend = &self.data.backend;
        let site = backend.site();
        let alone = site.is_direct() || !(site.is_queued() || site.has_line(claim.key()));
        // Whoever comes again and again lets those go first who are woken only now.
        let rest = alone && !site.is_direct() && site.asks_alone(claim.key()) && backend.is_awaited(&claim);
        // Without a line, the first answer is all that most acquisitions need.
        if alone && !rest {
            match self.or_leave_nothing(&claim, || self.ask(&claim)) {
                Ok(Answer::Held(held)) => return Ok(held),
                Ok(Answer::Denied(denied)) => {
                    return self
                        .or_leave_nothing(&claim, || self.wait_on(&claim, until, Some(denied), false));
                }
                Err(error) if error.is_quarantined() => {}
                Err(error) => {
                    if !error.is_settled() {
                        self.abandon_later(claim);
                    }
                    return Err(error);
                }
            }
        }
        self.or_leave_nothing(&claim, || self.wait_on(&claim, until, None, rest))
    }

    /// Waits after a first denial, or in a line.
    fn wait_on(
        &self,
        claim: &Claim,
        until: Option<Moment>,
        denied: Option<crate::Denied>,
        rest: bool,
    ) -> Result<Lock<B, Held<R>>> {
        let backend = &self.data.backend;
        let began = backend.site().now();
        let mut wait = Wait::new(backend.site(), claim, began, until);
        if let Some(denied) = denied {
            wait.denied(began, denied);
        }
        if rest {
            wait.rest(began);
        }
        wait.diagnose();
        loop {
            let now = wait.site().now();
            match with_thread_waker(|waker| wait.turn(waker, now)) {
                Turn::Ask => match self.ask(claim) {
                    Ok(Answer::Held(held)) => {
                        wait.won(held.data.0.remaining());
                        return Ok(held);
                    }
                    Ok(Answer::Denied(denied)) => wait.denied(wait.site().now(), denied),
                    Err(error) => {
                        if let Err(error) = wait.failed(wait.site().now(), error) {
                            return self.give_up(claim, &mut wait, error);
                        }
                    }
                },
                Turn::Watch => {
                    let watch = backend.watch(claim);
                    wait.watching(wait.site().now(), watch);
                }
                Turn::Sleep(until) => wait.site().park_until(until),
                Turn::Given(granted) => {
                    let lease = granted.lease;
                    let held = self.begin_given(claim, granted)?;
                    wait.won(lease);
                    return Ok(held);
                }
                Turn::Failed(error) => return self.give_up(claim, &mut wait, error),
                Turn::TimedOut => {
                    let error = wait.timed_out(now.since(began));
                    return self.give_up(claim, &mut wait, error);
                }
            }
        }
    }

    /// Leaves the line, unless the lock was delivered at the last moment.
    fn give_up(&self, claim: &Claim, wait: &mut Wait<'_>, error: Error) -> Result<Lock<B, Held<R>>> {
        match wait.give_up() {
            (Some(granted), _) => self.begin_given(claim, granted),
            (None, leftover) => {
                if leftover {
                    self.leave_nothing(claim);
                }
                Err(self.error(error))
            }
        }
    }

    fn begin_given(&self, claim: &Claim, granted: Granted<crate::any::AnyGrant>) -> Result<Lock<B, Held<R>>> {
        let Granted { grant, fence, lease, since } = granted;
        let grant = grant.take().expect("a store delivers grants of its own type");
        self.begin(claim.clone(), Granted { grant, fence, lease, since }, since)
    }

    /// Asks the store something. If it panics, what it did is as unknown as when an answer gets lost.
    fn or_leave_nothing<T>(&self, claim: &Claim, ask: impl FnOnce() -> T) -> T {
        let panicking = Panicking { lock: self, claim };
        let answer = ask();
        mem::forget(panicking);
        answer
    }

    /// Takes back what the store may keep for a claim that gave up.
    fn leave_nothing(&self, claim: &Claim) {
        if self.site().is_direct() {
            self.data.backend.abandon(claim);
        } else {
            self.abandon_later(claim.clone());
        }
    }

    fn abandon_later(&self, claim: Claim) {
        let backend = self.data.backend.clone();
        self.site().run_later(move || {
            backend.abandon(&claim);
            backend.site().notify(claim.key());
            None
        });
    }
}

enum Answer<B: Handle, R: Rule> {
    Held(Lock<B, Held<R>>),
    Denied(crate::Denied),
}

/// A claim about which the store is asked. Dropped by its panic, it takes back what the store may keep.
struct Panicking<'l, B: Handle, R: Rule> {
    lock: &'l Lock<B, Unlocked<R>>,
    claim: &'l Claim,
}

impl<B: Handle, R: Rule> Drop for Panicking<'_, B, R> {
    fn drop(&mut self) {
        // A store that panics once may do so again, and a second panic would end the program.
        drop(catch_unwind(AssertUnwindSafe(|| self.lock.leave_nothing(self.claim))));
    }
}
