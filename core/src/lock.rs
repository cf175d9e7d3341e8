//! A lock that is not held: its options, and the ways to get it.

use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::claim::Target;
use crate::held::Guard;
use crate::lease::Lease;
use crate::wait::{Turn, Wait};
use crate::waiter::with_thread_waker;
use crate::{
    Attempt, Backend, Claim, Error, Granted, Handle, Held, IntoName, Mode, Moment, Owner, Permit, Permits,
    Ran, Restore, Result, Rule, SessionLocks, Shared, SharedLocks, State, Unlocked,
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
    backend: B,
    target: Arc<Target>,
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

    /// Lets at most `limit` holders hold the lock at once. All must give the same limit.
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

/// Options. Each takes the place of what the store's [`Settings`](crate::Settings) say.
impl<B: Handle, R: Rule> Lock<B, Unlocked<R>> {
    /// Gives the lock a fixed lifetime, 10 ms to the settings' `max_ttl`, after which the store
    /// frees it whatever the holder does.
    ///
    /// Without it, the lock is kept alive: a background thread renews a short lease (the settings'
    /// `lease`) until the lock is released, dropped or lost.
    pub fn ttl(self, ttl: Duration) -> Self {
        self.option(|target| target.ttl = Some(ttl))
    }

    /// Keeps the lock alive although it has a [`ttl`](Self::ttl).
    pub fn keep_alive(self) -> Self {
        self.option(|target| target.keep_alive = true)
    }

    /// Holds the lock without a lease, for as long as the store sees the holder alive. A holder
    /// that hangs keeps it for ever.
    pub fn session(self) -> Self
    where
        B: SessionLocks,
    {
        self.option(|target| target.session = true)
    }

    /// Sets the pause between two looks at a store that cannot notify. Other stores are not polled
    /// and do not heed it.
    pub fn sleep(self, pause: Duration) -> Self {
        self.option(|target| target.sleep = pause)
    }

    /// Sets whether dropping the held lock releases it, `true` by default.
    ///
    /// With `false`, a lock that is dropped unreleased stays taken until its lease ends or somebody
    /// [restores](Self::restore) it by its owner token, even if this process ends.
    pub fn release_on_drop(self, release: bool) -> Self {
        self.option(|target| target.release_on_drop = release)
    }

    /// Keeps the name taken for at least this long after the grant, even when the lock is released
    /// sooner and the process ends; at most the settings' `max_ttl`.
    ///
    /// For a job that is due on several hosts at about the same time: it then runs once although
    /// the hosts' clocks differ and the work takes no time. A holder that crashes does not keep the
    /// name.
    pub fn hold_at_least(self, least: Duration) -> Self {
        self.option(|target| target.hold_at_least = Some(least))
    }

    /// Sets who the holder is, as shown to people; by default host name and process id.
    pub fn label(self, label: impl Into<Box<str>>) -> Self {
        self.option(|target| target.label = Some(label.into()))
    }

    fn option(mut self, set: impl FnOnce(&mut Target)) -> Self {
        match Arc::get_mut(&mut self.data.target) {
            Some(target) => set(target),
            None => {
                let mut target = self.data.target.fork();
                set(&mut target);
                self.data.target = Arc::new(target);
            }
        }
        self
    }

    /// The name, without the settings' prefix.
    #[must_use]
    pub fn name(&self) -> &str {
        self.data.target.name()
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &B {
        &self.data.backend
    }
}

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
        self.try_at(Location::caller())
    }

    pub(crate) fn try_at(&self, place: &'static Location<'static>) -> Result<Lock<B, Held<R>>> {
        let claim = self.claim(Owner::random(), place)?;
        let sent = self.sent();
        match self.data.backend.try_acquire(&claim) {
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
        self.wait(Some(Moment::now() + limit), Location::caller())
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
        let sent = Moment::now();
        let granted = self.data.backend.restore(&claim).map_err(|error| self.error(error))?;
        self.begin(claim, granted, Some(sent))
    }

    /// The claim that an acquisition with this owner token makes, for those who test a store: the
    /// same one can be handed to [`Backend::try_acquire`] twice.
    ///
    /// # Errors
    ///
    /// `InvalidName` and `Misconfigured`, as [`try_acquire`](Self::try_acquire).
    #[track_caller]
    pub fn claim_as(&self, owner: Owner) -> Result<Claim> {
        self.claim(owner, Location::caller())
    }

    fn claim(&self, owner: Owner, place: &'static Location<'static>) -> Result<Claim> {
        Claim::new(self.data.target.clone(), self.site(), owner, place)
            .map_err(|error| error.at(self.site().label()))
    }

    fn site(&self) -> &crate::Site {
        self.data.backend.site()
    }

    /// Asks the store once.
    fn ask(&self, claim: &Claim) -> Result<Answer<B, R>> {
        let sent = self.sent();
        match self.data.backend.try_acquire(claim).map_err(|error| self.error(error))? {
            Attempt::Granted(granted) => self.begin(claim.clone(), granted, sent).map(Answer::Held),
            Attempt::Denied(denied) => Ok(Answer::Denied(denied)),
        }
    }

    /// When a request that goes out now was sent; a store inside the process counts by itself.
    fn sent(&self) -> Option<Moment> {
        (!self.site().is_direct()).then(Moment::now)
    }

    fn begin(
        &self,
        claim: Claim,
        granted: Granted<B::Grant>,
        sent: Option<Moment>,
    ) -> Result<Lock<B, Held<R>>> {
        let lease = Lease::begin(self.data.backend.clone(), claim, granted, sent);
        let ended = lease.deadline().is_some_and(|deadline| deadline <= Moment::now());
        let held = Lock { data: Guard::new(lease) };
        if ended {
            drop(held.release());
            let late = "the store answered after the lease had already run out; use a longer ttl";
            return Err(self.error(Error::unavailable(late).settled()));
        }
        Ok(held)
    }

    pub(crate) fn wait(
        &self,
        until: Option<Moment>,
        place: &'static Location<'static>,
    ) -> Result<Lock<B, Held<R>>> {
        let claim = self.claim(Owner::random(), place)?;
        let backend = &self.data.backend;
        let site = backend.site();
        let alone = site.is_direct() || !site.has_line(claim.key());
        // Whoever comes again and again lets those go first who are woken only now.
        let rest = alone && !site.is_direct() && site.asks_alone(claim.key()) && backend.is_awaited(&claim);
        // Without a line, the first answer is all that most acquisitions need.
        if alone && !rest {
            match self.ask(&claim) {
                Ok(Answer::Held(held)) => return Ok(held),
                Ok(Answer::Denied(denied)) => return self.wait_on(&claim, until, Some(denied), false),
                Err(error) if error.is_quarantined() => {}
                Err(error) => {
                    if !error.is_settled() {
                        self.abandon_later(claim);
                    }
                    return Err(error);
                }
            }
        }
        self.wait_on(&claim, until, None, rest)
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
        let began = Moment::now();
        let mut wait = Wait::new(backend.site(), claim, began, until);
        if let Some(denied) = denied {
            wait.denied(began, denied);
        }
        if rest {
            wait.rest(began);
        }
        wait.diagnose();
        loop {
            let now = Moment::now();
            match with_thread_waker(|waker| wait.turn(waker, now)) {
                Turn::Ask => match self.ask(claim) {
                    Ok(Answer::Held(held)) => {
                        wait.won(held.data.remaining());
                        return Ok(held);
                    }
                    Ok(Answer::Denied(denied)) => wait.denied(Moment::now(), denied),
                    Err(error) => {
                        if let Err(error) = wait.failed(Moment::now(), error) {
                            return self.give_up(claim, &mut wait, error);
                        }
                    }
                },
                Turn::Watch => {
                    let watch = backend.watch(claim);
                    wait.watching(Moment::now(), watch);
                }
                Turn::Sleep(Moment::FAR) => thread::park(),
                Turn::Sleep(until) => thread::park_timeout(until.since(now)),
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
        self.site().lane().run(move || {
            backend.abandon(&claim);
            None
        });
    }

    fn error(&self, error: Error) -> Error {
        error.at(self.site().label()).on(self.name())
    }
}

enum Answer<B: Handle, R: Rule> {
    Held(Lock<B, Held<R>>),
    Denied(crate::Denied),
}

impl<B: Handle, R: Rule> Clone for Lock<B, Unlocked<R>> {
    fn clone(&self) -> Self {
        Self { data: self.data.clone() }
    }
}

impl<B: Handle, R: Rule> fmt::Debug for Lock<B, Unlocked<R>> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lock")
            .field("store", &self.site().label())
            .field("name", &self.name())
            .finish_non_exhaustive()
    }
}
