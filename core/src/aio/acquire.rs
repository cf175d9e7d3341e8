//! Getting an asynchronous lock. What is dropped half-way leaves nothing behind.

use std::future::{Future, poll_fn};
use std::panic::Location;
use std::task::Poll;
use std::time::Duration;

use super::{Alarm, AsyncHandle, AsyncRestore, Data, Lock, at_once};
use crate::any::AnyGrant;
use crate::held::Guard;
use crate::lease::Lease;
use crate::observe::acquiring;
use crate::port::Polled;
use crate::wait::{Turn, Wait};
use crate::{
    Attempt, Claim, Denied, Error, Granted, Held, Moment, Owner, Ran, Result, Rule, Unlocked, Watch,
};

/// Acquiring.
impl<B: AsyncHandle, R: Rule> Lock<B, Unlocked<R>> {
    /// Gets the lock if it is free, without waiting.
    ///
    /// # Errors
    ///
    /// `Contended` if somebody holds it, this process included: locks are not re-entrant.
    /// `Unavailable` if the store does not answer, within the store's time limit; never taken for
    /// contention. `Quarantined`, `Misconfigured` and `InvalidName` as their kinds say.
    ///
    /// # Cancel safety
    ///
    /// Dropped at any point, it leaves nothing behind: a grant that was under way is released in the
    /// background.
    #[track_caller]
    pub fn try_acquire(&self) -> impl Future<Output = Result<Lock<B, Held<R>>>> + Send + use<'_, B, R> {
        self.try_as(Owner::random(), Location::caller())
    }

    pub(crate) async fn try_as(
        &self,
        owner: Owner,
        place: &'static Location<'static>,
    ) -> Result<Lock<B, Held<R>>> {
        let claim = self.claim(owner, place)?;
        acquiring!(self.site(), &claim, {
            let mut asking = Asking::new(self, &claim);
            match asking.ask().await? {
                Answer::Granted { granted, sent } => {
                    drop(asking);
                    self.begin(claim, granted, sent)
                }
                Answer::Denied(denied) => Err(self.error(Error::contended(denied))),
            }
        })
    }

    /// Waits for the lock as long as it takes.
    ///
    /// Waiters of one process, tasks and threads alike, stand in line, and only the first of them
    /// speaks to the store. A store that does not answer at first is an error at once; one that
    /// stops answering while others wait is one after the settings' `recheck`.
    ///
    /// # Errors
    ///
    /// As [`try_acquire`](Self::try_acquire), but never `Contended`.
    ///
    /// # Cancel safety
    ///
    /// Dropped at any point, it leaves the line and leaves nothing behind: a grant that was under way
    /// or already delivered goes to the next in line. A new call stands at the end of the line.
    #[track_caller]
    pub fn acquire(&self) -> impl Future<Output = Result<Lock<B, Held<R>>>> + Send + use<'_, B, R> {
        self.wait(None, Location::caller())
    }

    /// Waits for the lock at most `limit`, counted from the call. Asks at least once.
    ///
    /// # Errors
    ///
    /// `TimedOut` if it was not free in time; its source is the store's last error, if there was
    /// one. Otherwise as [`acquire`](Self::acquire).
    ///
    /// # Cancel safety
    ///
    /// As [`acquire`](Self::acquire).
    #[track_caller]
    pub fn acquire_for(
        &self,
        limit: Duration,
    ) -> impl Future<Output = Result<Lock<B, Held<R>>>> + Send + use<'_, B, R> {
        self.wait(Some(self.site().now() + limit), Location::caller())
    }

    /// Waits for the lock until `deadline`, an [`Instant`](std::time::Instant) or a [`Moment`].
    /// Asks at least once.
    ///
    /// # Errors
    ///
    /// As [`acquire_for`](Self::acquire_for).
    ///
    /// # Cancel safety
    ///
    /// As [`acquire`](Self::acquire).
    #[track_caller]
    pub fn acquire_until<D: Into<Moment>>(
        &self,
        deadline: D,
    ) -> impl Future<Output = Result<Lock<B, Held<R>>>> + Send + use<'_, B, R, D> {
        self.wait(Some(deadline.into()), Location::caller())
    }

    /// Waits for the lock, runs `work` with it, and releases it, also when `work` panics.
    ///
    /// ```
    /// # use tenure_core::{Result, aio::{AsyncHandle, Lock}};
    /// # async fn demo<B: AsyncHandle>(store: B) -> Result<()> {
    /// let sum = Lock::new(&store, "ledger").run(async |held| 2 + 2).await?.kept()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`acquire`](Self::acquire); `work` was not run then. That the lock was lost meanwhile is
    /// told by [`Ran`].
    ///
    /// # Cancel safety
    ///
    /// Dropped at any point, it drops `work` where it stands, and releases the lock in the
    /// background.
    #[track_caller]
    pub fn run<T, F>(&self, work: F) -> impl Future<Output = Result<Ran<T>>>
    where
        F: AsyncFnOnce(&Lock<B, Held<R>>) -> T,
    {
        let acquire = self.wait(None, Location::caller());
        async move {
            let held = acquire.await?;
            let value = work(&held).await;
            Ok(Ran::new(value, held.release().await))
        }
    }

    /// Takes up a lock that this owner holds: re-acquires it without inserting anything. See
    /// [`tenure::Lock::restore`](crate::Lock::restore).
    ///
    /// # Errors
    ///
    /// `Lost` if the store does not have the lock for this owner; otherwise as
    /// [`try_acquire`](Self::try_acquire).
    ///
    /// # Cancel safety
    ///
    /// Dropped half-way, it may have set the life of the grant anew; the grant stays its owner's.
    #[track_caller]
    pub fn restore(
        &self,
        owner: Owner,
    ) -> impl Future<Output = Result<Lock<B, Held<R>>>> + Send + use<'_, B, R>
    where
        B: AsyncRestore,
    {
        let place = Location::caller();
        async move {
            let claim = self.claim(owner, place)?;
            acquiring!(self.site(), &claim, {
                claim.tally().asked();
                let sent = self.site().now();
                let granted = self.data.backend.restore(&claim).await.map_err(|error| self.error(error))?;
                self.begin(claim, granted, Some(sent))
            })
        }
    }

    pub(crate) async fn wait(
        &self,
        until: Option<Moment>,
        place: &'static Location<'static>,
    ) -> Result<Lock<B, Held<R>>> {
        let claim = self.claim(Owner::random(), place)?.waiting();
        acquiring!(self.site(), &claim, {
            let backend = &self.data.backend;
            let site = backend.site();
            let alone = site.is_direct() || !(site.is_queued() || site.has_line(claim.key()));
            // Whoever comes again and again lets those go first who are woken only now.
            let rest = alone
                && !site.is_direct()
                && site.asks_alone(claim.key())
                && backend.is_awaited(&claim).await;
            let mut asking = Asking::new(self, &claim);
            // Without a line, the first answer is all that most acquisitions need.
            let mut denied = None;
            if alone && !rest {
                match asking.ask().await {
                    Ok(Answer::Granted { granted, sent }) => {
                        drop(asking);
                        return self.begin(claim, granted, sent);
                    }
                    Ok(Answer::Denied(answer)) => denied = Some(answer),
                    Err(error) if error.is_quarantined() => {}
                    Err(error) => return Err(error),
                }
            }
            Waiting { asking, wait: None }.on(until, denied, rest).await
        })
    }

    fn begin(
        &self,
        claim: Claim,
        granted: Granted<B::Grant>,
        sent: Option<Moment>,
    ) -> Result<Lock<B, Held<R>>> {
        let held = self.hold(claim, granted, sent);
        match held.data.0.lease().has_ended() {
            true => Err(self.error(Error::granted_too_late().settled())),
            false => Ok(held),
        }
    }

    fn hold(&self, claim: Claim, granted: Granted<B::Grant>, sent: Option<Moment>) -> Lock<B, Held<R>> {
        let port = Polled(self.data.backend.clone());
        Lock { data: Data(Guard::new(Lease::begin(port, claim, granted, sent))) }
    }
}

enum Answer<G> {
    Granted { granted: Granted<G>, sent: Option<Moment> },
    Denied(Denied),
}

/// A claim for which the store is asked: the guard that exists before anything is sent. Dropped in doubt,
/// it takes back whatever the store may keep for the claim.
struct Asking<'l, B: AsyncHandle, R: Rule> {
    lock: &'l Lock<B, Unlocked<R>>,
    claim: &'l Claim,
    /// Whether the store may have granted something of which no answer came.
    doubt: bool,
}

impl<'l, B: AsyncHandle, R: Rule> Asking<'l, B, R> {
    fn new(lock: &'l Lock<B, Unlocked<R>>, claim: &'l Claim) -> Self {
        Self { lock, claim, doubt: false }
    }

    /// Asks the store once.
    async fn ask(&mut self) -> Result<Answer<B::Grant>> {
        self.claim.tally().asked();
        let before = std::mem::replace(&mut self.doubt, true);
        let sent = self.lock.sent();
        match self.lock.data.backend.try_acquire(self.claim).await {
            Ok(Attempt::Granted(granted)) => {
                self.doubt = false;
                Ok(Answer::Granted { granted, sent })
            }
            Ok(Attempt::Denied(denied)) => {
                self.doubt = before || denied.queued;
                Ok(Answer::Denied(denied))
            }
            Err(error) => {
                self.doubt = before || !error.is_settled();
                Err(self.lock.error(error))
            }
        }
    }

    /// Begins to hold. What came too late is not released, because the claim may ask again: a release
    /// that arrives late would end what the same token gets next.
    fn begin(&mut self, granted: Granted<B::Grant>, sent: Option<Moment>) -> Result<Lock<B, Held<R>>> {
        let held = self.lock.hold(self.claim.clone(), granted, sent);
        if held.data.0.lease().has_ended() {
            self.doubt = true;
            held.data.0.forget();
            return Err(self.lock.error(Error::granted_too_late()));
        }
        Ok(held)
    }

    /// Has the store promise to tell when the lock may be free.
    async fn watch(&mut self) -> Result<Watch> {
        let before = std::mem::replace(&mut self.doubt, true);
        let watch = self.lock.data.backend.watch(self.claim).await;
        self.doubt = before;
        watch
    }
}

impl<B: AsyncHandle, R: Rule> Drop for Asking<'_, B, R> {
    fn drop(&mut self) {
        if self.doubt {
            abandon(&self.lock.data.backend, self.claim);
        }
    }
}

/// A claim that waits. Dropped before it has led to a held lock, it leaves the line, and what was
/// delivered goes back.
struct Waiting<'l, B: AsyncHandle, R: Rule> {
    wait: Option<Wait<'l>>,
    asking: Asking<'l, B, R>,
}

impl<B: AsyncHandle, R: Rule> Waiting<'_, B, R> {
    /// Waits, after a first denial or in a line.
    async fn on(
        mut self,
        until: Option<Moment>,
        denied: Option<Denied>,
        rest: bool,
    ) -> Result<Lock<B, Held<R>>> {
        let Self { wait, asking } = &mut self;
        let (lock, claim) = (asking.lock, asking.claim);
        let site = lock.site();
        let began = site.now();
        let wait = wait.insert(Wait::new(site, claim, began, until));
        if let Some(denied) = denied {
            wait.denied(began, denied);
        }
        if rest {
            wait.rest(began);
        }
        wait.diagnose();
        let mut alarm = Alarm::new(site);
        loop {
            match next(wait, &mut alarm).await {
                Turn::Ask => {
                    let begun = match asking.ask().await {
                        Ok(Answer::Granted { granted, sent }) => asking.begin(granted, sent),
                        Ok(Answer::Denied(denied)) => {
                            wait.denied(site.now(), denied);
                            continue;
                        }
                        Err(error) => Err(error),
                    };
                    match begun {
                        Ok(held) => {
                            wait.won(held.data.0.remaining());
                            self.wait = None;
                            return Ok(held);
                        }
                        Err(error) => {
                            if let Err(error) = wait.failed(site.now(), error) {
                                return self.give_up(error);
                            }
                        }
                    }
                }
                Turn::Watch => {
                    let watch = asking.watch().await;
                    wait.watching(site.now(), watch);
                }
                Turn::Given(granted) => return self.take(granted),
                Turn::Failed(error) => return self.give_up(error),
                Turn::TimedOut => {
                    let error = wait.timed_out(site.now().since(began));
                    return self.give_up(error);
                }
                Turn::Sleep(_) => {}
            }
        }
    }

    /// Begins to hold what was delivered.
    fn take(&mut self, granted: Granted<AnyGrant>) -> Result<Lock<B, Held<R>>> {
        let Granted { grant, fence, lease, since } = granted;
        let grant = grant.take().expect("a store delivers grants of its own type");
        let (lock, claim) = (self.asking.lock, self.asking.claim);
        let held = lock.begin(claim.clone(), Granted { grant, fence, lease, since }, since)?;
        if let Some(mut wait) = self.wait.take() {
            wait.won(lease);
        }
        self.asking.doubt = false;
        Ok(held)
    }

    /// Leaves the line, unless the lock was delivered at the last moment.
    fn give_up(&mut self, error: Error) -> Result<Lock<B, Held<R>>> {
        match self.leave() {
            Some(granted) => self.take(granted),
            None => Err(self.asking.lock.error(error)),
        }
    }

    /// Ends the wait; returns what was delivered.
    fn leave(&mut self) -> Option<Granted<AnyGrant>> {
        let (given, leftover) = self.wait.as_mut().map(Wait::give_up).unwrap_or_default();
        self.wait = None;
        self.asking.doubt |= leftover;
        given
    }
}

impl<B: AsyncHandle, R: Rule> Drop for Waiting<'_, B, R> {
    fn drop(&mut self) {
        self.asking.doubt |= self.leave().is_some();
    }
}

/// Takes back whatever the store keeps for a claim: at once inside the process, else in the background.
fn abandon<B: AsyncHandle>(backend: &B, claim: &Claim) {
    if backend.site().is_direct() && at_once(backend.abandon(claim)).is_some() {
        return;
    }
    let (owned, claim) = (backend.clone(), claim.clone());
    backend.spawn(Box::pin(async move {
        owned.abandon(&claim).await;
        owned.site().notify(claim.key());
    }));
}

/// What to do next, after sleeping as long as there is nothing to do.
async fn next(wait: &mut Wait<'_>, alarm: &mut Alarm<'_>) -> Turn {
    poll_fn(|cx| match wait.turn(cx.waker(), wait.site().now()) {
        Turn::Sleep(until) => {
            alarm.set(until, cx.waker());
            Poll::Pending
        }
        turn => {
            alarm.clear();
            Poll::Ready(turn)
        }
    })
    .await
}
