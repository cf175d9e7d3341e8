//! What only broken stores do, where it needs more than a line.

use std::cell::RefCell;
use std::collections::{HashSet, VecDeque};
use std::fs::{self, File};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use tenure_core::{Backend, Claim, Fence, Moment, Result};

use super::Fault;
use super::grants::Hold;
use super::model::Model;
use super::record::{Inside, Record, peek, unanswered};

/// The memory of stores that remember what they should not, in one handle.
#[derive(Debug, Default)]
pub(super) struct Odd {
    /// How far the clock of this client is ahead of others'.
    pub(super) clock_ahead: Duration,
    grants: AtomicU64,
    known: Mutex<HashSet<String>>,
    old: Mutex<VecDeque<PathBuf>>,
}

/// How many names a store remembers that forgets some.
const REMEMBERED: usize = 500;

impl Model {
    /// Takes a decision now and acts on it later, as stores do that read and write in two requests.
    pub(super) fn leave_and_enter(&self, inside: Inside, claim: &Claim) -> Result<Inside> {
        let mut decided = inside.record.clone();
        drop(inside);
        thread::sleep(Duration::from_millis(match self.fault() {
            Some(Fault::GetThenDelete | Fault::RenewsInTwoSteps) => 25,
            _ => 1,
        }));
        let mut inside = self.enter_at(&self.address_of(claim)?)?;
        std::mem::swap(&mut inside.record, &mut decided);
        Ok(inside)
    }

    pub(super) fn is_preferred_elsewhere(&self, record: &Record) -> Result<bool> {
        let Some((mark, at)) = &record.trace.released else { return Ok(false) };
        let recent = Moment::now().since(Moment::from_nanos(*at)) < Duration::from_millis(500);
        Ok(recent && *mark != self.mark()?)
    }

    /// Counts the grants of this handle.
    pub(super) fn handles_count(&self) -> Fence {
        Fence::new(self.odd().grants.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// Whether this handle grants a name for the first time.
    pub(super) fn is_new_here(&self, key: &str) -> bool {
        self.odd().known.lock().unwrap_or_else(PoisonError::into_inner).insert(key.into())
    }

    pub(super) fn forget_old_locks(&self, inside: &Inside) {
        if self.has(Fault::ForgetsOldLocks) && inside.record.trace.last.is_none() {
            self.forget_the_oldest_for(inside, |_| true);
        }
    }

    /// What else happens at a release.
    pub(super) fn after_release(&self, inside: &Inside, hold: &Hold) {
        match self.fault() {
            // Whoever has opened it meanwhile will have a lock in a file that nobody finds.
            Some(Fault::UnlinksOnRelease) => drop(fs::remove_file(self.path(&inside.record.key))),
            Some(Fault::ForgetsIdleNames) => {
                self.forget_the_oldest_for(inside, |record| record.holder.is_none());
            }
            Some(Fault::HeldByAnOpenFile) => {
                drop(hold.file.lock().unwrap_or_else(PoisonError::into_inner).take());
            }
            _ => {}
        }
    }

    fn forget_the_oldest_for(&self, inside: &Inside, forgets: fn(&Record) -> bool) {
        let mut old = self.odd().old.lock().unwrap_or_else(PoisonError::into_inner);
        old.push_back(self.path(&inside.record.key));
        if old.len() > REMEMBERED
            && let Some(oldest) = old.pop_front()
            && peek(&oldest).is_some_and(|record| forgets(&record))
        {
            let _ = fs::remove_file(oldest);
        }
    }

    pub(super) fn enter_under_the_latest_prefix(&self, claim: &Claim) -> Result<Inside> {
        let prefix = fs::read_to_string(self.dir().join("prefix")).map_err(unanswered)?;
        self.enter_at(&[prefix.as_str(), claim.name()].concat())
    }

    /// Opens and locks a file that children and programs inherit.
    pub(super) fn open_inherited(&self, key: &str) -> Result<File> {
        let file = File::create(self.held_file(&self.address(key))).map_err(unanswered)?;
        // Refused to who has it already.
        let _ = file.try_lock();
        #[cfg(unix)]
        {
            use nix::fcntl::{FcntlArg, FdFlag, fcntl};
            fcntl(&file, FcntlArg::F_SETFD(FdFlag::empty())).map_err(|errno| unanswered(errno.into()))?;
        }
        Ok(file)
    }

    pub(super) fn is_file_open(&self, address: &str) -> bool {
        super::mark::is_refused(&self.held_file(address), File::try_lock_shared)
    }

    fn held_file(&self, address: &str) -> PathBuf {
        self.path(address).with_extension("held")
    }
}

/// Frees what a claim was granted when it is dropped.
#[derive(Debug)]
pub(super) struct Leaves {
    model: Model,
    claim: Option<Claim>,
}

thread_local! {
    static OF_THIS_THREAD: RefCell<Vec<Leaves>> = const { RefCell::new(Vec::new()) };
}

impl Leaves {
    pub(super) fn new(model: &Model, claim: &Claim) -> Self {
        Self { model: model.clone(), claim: Some(claim.clone()) }
    }

    /// Frees nothing after all.
    pub(super) fn forget(mut self) {
        self.claim = None;
    }

    pub(super) fn end_with_this_thread(self) {
        OF_THIS_THREAD.with_borrow_mut(|all| all.push(self));
    }
}

impl Drop for Leaves {
    fn drop(&mut self) {
        if let Some(claim) = self.claim.take() {
            Backend::abandon(&self.model, &claim);
        }
    }
}
