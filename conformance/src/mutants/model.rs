//! The reference store, and the places where a fault breaks it.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Weak};
use std::thread;
use std::time::Duration;

use tenure_core::{
    AnyBackend, Attempt, Backend, Cause, Claim, Denied, Error, Granted, Mode, Moment, Owner, Permits,
    Release, Renewal, Restore, Result, SessionLocks, Settings, SharedLocks, Site, Watch, wall_micros,
};

use super::Fault;
use super::grants::Hold;
use super::lookout::Lookout;
use super::mark::{Mark, WAITING, WAITING_ALONE};
use super::odd::Odd;
use super::record::{Holding, Inside, unanswered};
use super::rules::Act;

/// A small store that keeps all the promises, or all but one.
///
/// It keeps one record per name in a folder, for the processes of one host: plain, slow, and made to
/// be read by those who write a store. With a [`Fault`] it is a mutant: somewhere in its code stands
/// `self.has(Fault::..)`, and there it does what a store must not do.
///
/// It is no store for programs: its leases mean nothing after the next boot, and its folder only grows.
#[derive(Clone)]
pub struct Model(Arc<Inner>);

pub(super) struct Inner {
    site: Site,
    dir: PathBuf,
    fault: Option<Fault>,
    lookout: Lookout,
    mark: Mutex<Option<Mark>>,
    /// What only broken stores look at.
    odd: Odd,
}

impl Model {
    /// Opens the store in a folder, which is made if it is not there. It keeps all promises.
    ///
    /// # Errors
    ///
    /// `Unavailable` if the folder cannot be made.
    pub fn open(dir: impl Into<PathBuf>, settings: Settings) -> Result<Self> {
        Self::new(dir.into(), settings, None)
    }

    /// Opens the store with a fault. All processes that share a folder should open it with the same.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn broken(dir: impl Into<PathBuf>, settings: Settings, fault: Fault) -> Result<Self> {
        Self::new(dir.into(), settings, Some(fault))
    }

    fn new(mut dir: PathBuf, settings: Settings, fault: Option<Fault>) -> Result<Self> {
        let label = format!("model:{}", dir.display());
        let first = fs::create_dir(&dir).is_ok();
        let mut odd = Odd::default();
        match fault {
            Some(Fault::TrustsClientClocks) if !first => odd.clock_ahead = Duration::from_millis(200),
            Some(Fault::LocksPerProcess) => dir.push(std::process::id().to_string()),
            Some(Fault::LocksPerHandle) => dir.push(Owner::random().to_string()),
            _ => {}
        }
        fs::create_dir_all(dir.join("alive")).map_err(unanswered)?;
        let settings = match fault {
            Some(Fault::IgnoresTheSettings) => {
                Settings::default().with_prefix("model:")?.with_max_ttl(Duration::from_secs(24 * 3600))?
            }
            _ => settings,
        };
        if fault == Some(Fault::ReleasesUnderTheLatestPrefix) {
            fs::write(dir.join("prefix"), settings.prefix()).map_err(unanswered)?;
        }
        let site = match fault {
            Some(Fault::ClaimsToBeDirect) => Site::direct(label, settings),
            _ => Site::new(label, settings),
        };
        let lookout = Lookout::default();
        Ok(Self(Arc::new(Inner { site, dir, fault, lookout, mark: Mutex::default(), odd })))
    }

    pub(super) fn downgrade(&self) -> Weak<Inner> {
        Arc::downgrade(&self.0)
    }

    pub(super) fn upgrade(weak: &Weak<Inner>) -> Option<Self> {
        weak.upgrade().map(Self)
    }

    pub(super) fn fault(&self) -> Option<Fault> {
        self.0.fault
    }

    pub(super) fn has(&self, fault: Fault) -> bool {
        self.0.fault == Some(fault)
    }

    pub(super) fn settings(&self) -> &Settings {
        self.0.site.settings()
    }

    pub(super) fn dir(&self) -> &Path {
        &self.0.dir
    }

    pub(super) fn lookout(&self) -> &Lookout {
        &self.0.lookout
    }

    /// What only broken stores remember.
    pub(super) fn odd(&self) -> &Odd {
        &self.0.odd
    }

    pub(super) fn mark_slot(&self) -> &Mutex<Option<Mark>> {
        &self.0.mark
    }

    /// The store's clock, the same for all processes of the host.
    pub(super) fn now(&self) -> Moment {
        match self.fault() {
            Some(Fault::TrustsClientClocks) => {
                Moment::from_nanos(wall_micros() * 1000) + self.0.odd.clock_ahead
            }
            _ => Moment::now(),
        }
    }

    /// Enters the record of a claim. What is read there stays true until it is left.
    fn enter(&self, claim: &Claim) -> Result<Inside> {
        self.enter_at(&self.address_of(claim)?)
    }

    pub(super) fn enter_at(&self, address: &str) -> Result<Inside> {
        let pause = if self.has(Fault::UnlinksOnRelease) { Duration::from_millis(1) } else { Duration::ZERO };
        let entered = Inside::open(&self.path(address), address, pause);
        if entered.is_err() && self.has(Fault::DownHangs) {
            thread::sleep(Duration::from_secs(11));
        }
        entered
    }
}

impl Backend for Model {
    type Grant = Hold;
    type Handle = Self;

    fn handle(&self) -> Self {
        self.clone()
    }

    fn site(&self) -> &Site {
        &self.0.site
    }

    fn try_acquire(&self, claim: &Claim) -> Result<Attempt<Hold>> {
        if self.has(Fault::AnswersLate) {
            thread::sleep(Duration::from_millis(2200));
        }
        let mut inside = match self.enter(claim) {
            Err(_) if self.has(Fault::DownIsContended) => return Ok(Attempt::Denied(Denied::new())),
            entered => entered?,
        };
        if claim.mode() != Mode::Exclusive {
            return self.share(inside, claim);
        }
        match self.holder(&inside.record).cloned() {
            None if !self.sharers(&inside.record).is_empty() && !self.has(Fault::HolderBesideShares) => {
                Ok(Attempt::Denied(self.denial(&inside.record, claim)))
            }
            None => self.take(inside, claim),
            // The answer to its first attempt got lost.
            Some(holding)
                if holding.owner == Some(claim.owner())
                    && holding.breaking.is_none()
                    && !self.has(Fault::ForgetsTheToken) =>
            {
                self.adopt(&mut inside, claim).map(Attempt::Granted)
            }
            Some(holding) => self.deny(inside, claim, holding),
        }
    }

    fn renew(&self, due: Renewal<'_, Hold>) -> Result<()> {
        let (claim, owner, verify) = (due.claim(), due.grant().owner, due.ttl() == Duration::MAX);
        if self.has(Fault::RenewsNothing) || verify && self.has(Fault::SessionVerifiesNothing) {
            return Ok(());
        }
        let mut inside = match self.enter(claim) {
            Err(_) if self.has(Fault::DownIsALoss) => {
                return Err(Error::lost(Cause::Superseded));
            }
            entered => entered?,
        };
        if self.has(Fault::RenewsTheReleased) && inside.record.holder.is_none() {
            inside.record.holder = inside.record.trace.last.clone();
        }
        let holding = self.owned(&mut inside.record, owner, Act::Renew).map_err(Error::lost)?;
        let own = claim.term().ttl().map_or(due.ttl(), |ttl| ttl.get());
        let Some(before) = holding.deadline() else { return Ok(()) };
        let ttl = match verify {
            true if self.has(Fault::VerifyingExtends) => own,
            true => return Ok(()),
            false => due.ttl(),
        };
        let until = self.renewed(before, own, ttl);
        holding.set_deadline(until);
        self.renew_others(&mut inside.record, until);
        if self.has(Fault::RenewMovesTheFence) {
            inside.record.fence += 1;
        }
        if self.has(Fault::RenewsInTwoSteps) {
            let renewed = inside.record.clone();
            inside = self.leave_and_enter(inside, claim)?;
            inside.record = renewed;
        }
        inside.save()
    }

    fn release(&self, end: Release<'_, Hold>) -> Result<()> {
        if self.has(Fault::ReleasesNothingInAPanic) && thread::panicking() {
            return Ok(());
        }
        let (claim, owner) = (end.claim(), end.grant().owner);
        let entered = match self.fault() {
            Some(Fault::ReleasesUnderTheLatestPrefix) => self.enter_under_the_latest_prefix(claim),
            _ => self.enter(claim),
        };
        let mut inside = match entered {
            Err(_) if self.has(Fault::DownReleases) => return Ok(()),
            entered => entered?,
        };
        let held = self.owned(&mut inside.record, owner, Act::Release).map(drop);
        if claim.mode() != Mode::Exclusive {
            return self.release_share(inside, owner, held, end.keep())?.map_err(Error::lost);
        }
        let mine = inside.record.holder.as_ref().is_some_and(|holding| holding.owner == Some(owner));
        let frees = match self.fault() {
            Some(Fault::ReleasesWithoutOwnerCheck | Fault::ThreadIsTheOwner) => held.is_ok(),
            Some(Fault::LateReleaseFrees) => true,
            Some(Fault::GetThenDelete) => {
                inside = self.leave_and_enter(inside, claim)?;
                mine
            }
            // What was broken or has ended is cleared as well; that it was lost is the answer.
            _ => mine,
        };
        if frees && let Some(holding) = inside.record.holder.take() {
            inside.record.trace.last = Some(holding.clone());
            inside.record.trace.released = Some((holding.mark.clone(), Moment::now().as_nanos()));
            inside.record.holder = self.remains(holding, end.keep().filter(|_| held.is_ok()));
            inside.save()?;
            self.after_release(&inside, end.grant());
        }
        held.map_err(Error::lost)
    }

    fn abandon(&self, claim: &Claim) {
        if self.has(Fault::KeepsTheAbandoned) {
            return;
        }
        let Ok(mut inside) = self.enter(claim) else { return };
        let has_it = |holding: &Holding| holding.owner == Some(claim.owner());
        if let Some(place) = inside.record.place_of(claim.owner()) {
            inside.record.shares.remove(place);
            let _ = inside.save();
        } else if inside.record.holder.as_ref().is_some_and(has_it) || self.has(Fault::AbandonFreesAnybody) {
            inside.record.holder = None;
            // Nobody could be told of a failure; then the end of the lease frees the name.
            let _ = inside.save();
        }
    }

    fn watch(&self, claim: &Claim) -> Result<Watch> {
        match self.fault() {
            Some(Fault::CannotNotify) => Ok(Watch::none()),
            Some(Fault::NeverNotifies) => Ok(Watch::armed(())),
            _ => {
                let path = self.path(&self.address_of(claim)?);
                let waiting = self.wait_visibly(&path, WAITING);
                let alone = claim.mode() == Mode::Exclusive;
                let alone = alone.then(|| self.wait_visibly(&path, WAITING_ALONE));
                Ok(Watch::armed((self.look_out(claim.key(), path), waiting, alone)))
            }
        }
    }

    fn is_awaited(&self, claim: &Claim) -> bool {
        let awaited = |address: String| self.is_waited_for(&self.path(&address), WAITING);
        self.address_of(claim).is_ok_and(awaited)
    }

    fn renew_many(&self, due: &[Renewal<'_, Hold>]) -> Vec<Result<()>> {
        let answer = |(index, due): (usize, &Renewal<'_, Hold>)| match self.fault() {
            Some(Fault::RenewsTheFirstOfMany) if index > 0 => Ok(()),
            _ => self.renew(*due),
        };
        due.iter().enumerate().map(answer).collect()
    }
}

impl Restore for Model {
    fn restore(&self, claim: &Claim) -> Result<Granted<Hold>> {
        let mut inside = self.enter(claim)?;
        let had_it = |holding: &Holding| holding.owner == Some(claim.owner());
        let free = self.holder(&inside.record).is_none();
        let here = |holding: &Holding| self.is_of_this_process(&holding.mark);
        match self.fault() {
            Some(Fault::RestoreInserts) if free => return self.grant(&mut inside, claim),
            Some(Fault::RestoresTheReleased)
                if free && inside.record.trace.last.as_ref().is_some_and(had_it) =>
            {
                return self.grant(&mut inside, claim);
            }
            Some(Fault::RestoresOnlyItsOwn) if !inside.record.holder.as_ref().is_some_and(here) => {
                return Err(Error::lost(Cause::Superseded));
            }
            _ => {}
        }
        self.owned(&mut inside.record, claim.owner(), Act::Restore).map_err(Error::lost)?;
        match self.fault() {
            Some(Fault::RestoreGrantsAnew) => self.grant(&mut inside, claim),
            _ if claim.mode() != Mode::Exclusive => self.adopt_share(&mut inside, claim),
            _ => self.adopt(&mut inside, claim),
        }
    }
}

impl SessionLocks for Model {}

impl SharedLocks for Model {}

impl Permits for Model {}

impl From<Model> for AnyBackend {
    fn from(model: Model) -> Self {
        Self::erase(model).inspect().restore().sessions().shared().permits().build()
    }
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Model")
            .field("dir", &self.0.dir)
            .field("fault", &self.0.fault)
            .finish_non_exhaustive()
    }
}
