//! The store, and what it answers.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tenure_core::{
    Advice, AnyBackend, Attempt, Backend, Cause, Claim, Denied, Error, Fence, Granted, Lease, Moment,
    Release, Renewal, Restore, Result, SessionLocks, Settings, Site, Term, Watch, wall_micros,
};

use crate::config::{FilesBuilder, Folder, folder_of_url, user_folder};
use crate::entry::{Entry, Locked};
use crate::grant::FileGrant;
use crate::record::{Record, Standing, State};
use crate::watch::Watcher;
use crate::{collect, watch};

/// A folder of lock files. Cheap to clone; clones are the same store.
#[derive(Clone)]
pub struct Files(Arc<Inner>);

struct Inner {
    site: Site,
    folder: Folder,
    /// The files that are open in this process, and which process that is.
    open: Mutex<Open>,
    watcher: Mutex<Option<Arc<Watcher>>>,
}

#[derive(Default)]
struct Open {
    pid: u32,
    entries: HashMap<Box<str>, Weak<Entry>>,
    /// At this size, entries that nobody uses are forgotten.
    sweep_at: usize,
}

impl Files {
    /// Opens a folder of lock files for this user alone, and makes it if need be.
    ///
    /// # Errors
    ///
    /// As [`FilesBuilder::open`].
    pub fn open(folder: impl Into<PathBuf>) -> Result<Self> {
        Self::builder(folder).open()
    }

    /// Opens a folder with settings, or for several users.
    pub fn builder(folder: impl Into<PathBuf>) -> FilesBuilder {
        FilesBuilder::new(folder.into())
    }

    /// Opens the user's own folder: `tenure/locks` in `$XDG_STATE_HOME`, or in `~/.local/state`.
    ///
    /// # Errors
    ///
    /// `Misconfigured` if neither is known; otherwise as [`FilesBuilder::open`].
    pub fn user_default(settings: Settings) -> Result<Self> {
        Self::builder(user_folder()?).settings(settings).open()
    }

    /// Opens the folder that a URL names: `file:///absolute/path`, `file:relative/path`, or `file:`
    /// for the user's own. A `%` stands before two hexadecimal digits: `%20` is a space.
    ///
    /// # Errors
    ///
    /// `Misconfigured` for any other URL; otherwise as [`FilesBuilder::open`].
    pub fn connect(url: &str, settings: Settings) -> Result<Self> {
        match folder_of_url(url)? {
            Some(folder) => Self::builder(folder).settings(settings).open(),
            None => Self::user_default(settings),
        }
    }

    pub(crate) fn over(label: &str, folder: Folder, settings: Settings) -> Self {
        let (open, watcher) = (Mutex::default(), Mutex::default());
        Self(Arc::new(Inner { site: Site::new(label, settings), folder, open, watcher }))
    }

    pub(crate) fn folder(&self) -> &Folder {
        &self.0.folder
    }

    /// The open file of a key, shared by all of this process, and made if need be.
    pub(crate) fn entry(&self, key: &str) -> Result<Arc<Entry>> {
        self.open_entry(key, true)?.ok_or_else(|| Error::unavailable("its file vanished while it was made"))
    }

    /// The open file of a key, if there is one.
    pub(crate) fn find(&self, key: &str) -> Result<Option<Arc<Entry>>> {
        self.open_entry(key, false)
    }

    fn open_entry(&self, key: &str, create: bool) -> Result<Option<Arc<Entry>>> {
        let pid = std::process::id();
        let mut open = self.0.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.pid != pid {
            // After a fork, the parent's descriptors share its locks: they are never used here.
            *open = Open { pid, ..Open::default() };
        }
        if let Some(entry) = open.entries.get(key).and_then(Weak::upgrade) {
            return Ok(Some(entry));
        }
        let Some(file) = self.0.folder.open(key, create)? else { return Ok(None) };
        let entry = Arc::new(Entry::new(file, key));
        if open.entries.len() >= open.sweep_at.max(64) {
            open.entries.retain(|_, entry| entry.strong_count() > 0);
            open.sweep_at = open.entries.len() * 2;
        }
        open.entries.insert(key.into(), Arc::downgrade(&entry));
        Ok(Some(entry))
    }

    fn forget(&self, entry: &Arc<Entry>) {
        let mut open = self.0.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.entries.get(entry.key()).is_some_and(|known| std::ptr::eq(known.as_ptr(), Arc::as_ptr(entry)))
        {
            open.entries.remove(entry.key());
        }
    }

    /// Does something with the record of a claim's key, made if need be.
    fn with_record<T>(
        &self,
        claim: &Claim,
        act: impl FnOnce(&Arc<Entry>, &mut Locked<'_>, Record) -> Result<T>,
    ) -> Result<T> {
        let kept = claim.resolved(|| Ok(Arc::new(Slot(self.entry(claim.key())?))))?;
        let mut next = Some(&kept.0).filter(|entry| !entry.is_foreign_to(claim.process())).cloned();
        // A file that was collected is opened anew; that it happens again and again is no accident.
        for _ in 0..100 {
            let entry = match next.take() {
                Some(entry) => entry,
                None => self.entry(claim.key())?,
            };
            if let Some(mut locked) = entry.lock()? {
                let mut record = self.record(&entry, &locked)?;
                if !locked.is_removed(&mut record)? {
                    return act(&entry, &mut locked, record);
                }
            }
            self.forget(&entry);
        }
        Err(Error::unavailable("its file is removed as often as it is made; leave lock files alone")
            .settled())
    }

    pub(crate) fn record(&self, entry: &Entry, locked: &Locked<'_>) -> Result<Record> {
        let quarantine = self.0.site.settings().max_ttl().get();
        let floor = || {
            self.collect_now_and_then();
            collect::floor(&self.0.folder)
        };
        let record = locked.record(&self.0.folder.boot, quarantine, floor)?;
        if usize::try_from(record.key_len).is_ok_and(|length| length == entry.key().len()) {
            return Ok(record);
        }
        Err(Error::misconfigured(
            "its file belongs to another name; lock files must not be copied or renamed",
        ))
    }

    /// How a record's lock stands now; a holder that has died holds nothing.
    pub(crate) fn standing(&self, locked: &Locked<'_>, record: &Record, now: Moment) -> Standing {
        match record.standing(now, &self.0.folder.boot) {
            Standing::TakenIfAlive(left) if locked.is_alive(record.seq) => Standing::Taken(left),
            Standing::TakenIfAlive(_) => Standing::Free,
            standing => standing,
        }
    }

    /// Marks a grant as alive, and writes it.
    fn grant(
        &self,
        claim: &Claim,
        entry: &Arc<Entry>,
        locked: &mut Locked<'_>,
        mut record: Record,
    ) -> Result<Granted<FileGrant>> {
        let (lease, deadline) = match claim.term() {
            Term::Fixed(ttl) | Term::Kept(ttl) => (Lease::For(ttl.get()), Moment::now() + ttl.get()),
            _ => (Lease::Session, Moment::FAR),
        };
        let own = match lease {
            Lease::Session => self.0.folder.open(claim.key(), false)?,
            Lease::For(_) => None,
        };
        let before = record.seq;
        record.seq += 1;
        locked.live(record.seq, own.as_ref())?;
        record.state = State::Held;
        record.owner = Some(claim.owner());
        record.deadline = deadline;
        record.boot = self.0.folder.boot;
        record.pid = claim.process();
        record.detached = claim.is_detached();
        record.label = claim.label().into();
        record.reason = "".into();
        if let Err(error) = locked.write(&record) {
            locked.die(record.seq, own.as_ref());
            return Err(error);
        }
        // An adopted grant leaves its former mark, which means nothing any more.
        locked.die(before, None);
        let grant = FileGrant { entry: entry.clone(), seq: record.seq, own };
        Ok(Granted::new(grant, record.fence, lease))
    }
}

/// What a `Lock` keeps of its file.
struct Slot(Arc<Entry>);

impl Backend for Files {
    type Grant = FileGrant;
    type Handle = Self;

    fn handle(&self) -> Self {
        self.clone()
    }

    fn site(&self) -> &Site {
        &self.0.site
    }

    fn try_acquire(&self, claim: &Claim) -> Result<Attempt<FileGrant>> {
        self.with_record(claim, |entry, locked, mut record| {
            let now = Moment::now();
            let left = match self.standing(locked, &record, now) {
                Standing::Free => {
                    record.fence = Fence::next(record.fence, claim.floor(), wall_micros());
                    record.since_micros = wall_micros();
                    record.evicted = None;
                    return self.grant(claim, entry, locked, record).map(Attempt::Granted);
                }
                Standing::Quarantined(left) => {
                    return Err(Error::quarantined(
                        left,
                        "its record was damaged; nobody gets it until no lease from before can live",
                    ));
                }
                Standing::Taken(left) | Standing::TakenIfAlive(left) => left,
            };
            if record.is_held_by(claim.owner(), now, &self.0.folder.boot) {
                return self.grant(claim, entry, locked, record).map(Attempt::Granted);
            }
            let denied = Denied::new().holder(record.fence);
            if entry.is_watched() && !record.awaited {
                record.awaited = true;
                locked.write(&record)?;
            }
            Ok(Attempt::Denied(left.map_or(denied, |left| denied.retry_after(left))))
        })
    }

    fn renew(&self, due: Renewal<'_, FileGrant>) -> Result<()> {
        let owner = due.claim().owner();
        let Some(mut locked) = due.grant().entry.lock()? else {
            // Its file was removed: whoever comes next makes a new one.
            return Err(Error::lost(Cause::Superseded));
        };
        let mut record = self.record(&due.grant().entry, &locked)?;
        let now = Moment::now();
        if !record.is_held_by(owner, now, &self.0.folder.boot) {
            return Err(lost(&record, owner));
        }
        if due.ttl() == Duration::MAX {
            return Ok(());
        }
        let before = std::mem::replace(&mut record.deadline, now + due.ttl());
        if record.deadline < before {
            // They wait for an end that comes sooner now.
            return locked.write_and_tell(record);
        }
        locked.write(&record)
    }

    fn release(&self, end: Release<'_, FileGrant>) -> Result<()> {
        let (owner, grant) = (end.claim().owner(), end.grant());
        let Some(mut locked) = grant.entry.lock()? else {
            return Err(Error::lost(Cause::Superseded));
        };
        let mut record = self.record(&grant.entry, &locked)?;
        let now = Moment::now();
        let held = record.is_held_by(owner, now, &self.0.folder.boot);
        let answer = if held { Ok(()) } else { Err(lost(&record, owner)) };
        // Also what was broken or has run out is over now, if nobody else has it.
        if record.owner == Some(owner) {
            match end.keep().filter(|_| held) {
                None => record.clear(),
                Some(keep) => {
                    (record.state, record.owner) = (State::Lingering, None);
                    record.deadline = now + keep;
                }
            }
            locked.write_and_tell(record)?;
        }
        locked.die(grant.seq, grant.own.as_ref());
        answer
    }

    fn abandon(&self, claim: &Claim) {
        // What an acquire left behind is a record with this owner; who wrote it is alive still.
        let _ = self.with_record(claim, |_, locked, mut record| {
            if record.owner == Some(claim.owner()) {
                let seq = record.seq;
                record.clear();
                locked.write_and_tell(record)?;
                locked.die(seq, None);
            }
            Ok(())
        });
    }

    fn watch(&self, claim: &Claim) -> Result<Watch> {
        let entry = self.entry(claim.key())?;
        let mut watcher = self.0.watcher.lock().unwrap_or_else(PoisonError::into_inner);
        if watcher.as_ref().is_none_or(|watcher| watcher.is_foreign()) {
            *watcher = Watcher::start(self.0.folder.boot, &self.0.site).ok();
        }
        // Without inotify, as when the system has no more of it, the lock is asked for now and then.
        Ok(watcher.as_ref().and_then(|watcher| watch::arm(watcher, entry)).unwrap_or_else(Watch::none))
    }

    fn diagnose(&self) -> Vec<Advice> {
        let mut advice = Vec::new();
        if self.0.folder.network {
            advice.push(Advice::new(
                "locks on a network file system can be lost, and waiters on other hosts are not woken",
                "use a local folder, or a store that hosts share",
            ));
        }
        if self.0.folder.mode() & 0o002 != 0 {
            advice.push(Advice::new(
                "everybody may write the folder of lock files, and so break every lock",
                "take that right away with `chmod o-w`",
            ));
        }
        advice
    }
}

impl Restore for Files {
    fn restore(&self, claim: &Claim) -> Result<Granted<FileGrant>> {
        self.with_record(claim, |entry, locked, record| {
            let taken = self.standing(locked, &record, Moment::now()) != Standing::Free;
            if taken && record.is_held_by(claim.owner(), Moment::now(), &self.0.folder.boot) {
                return self.grant(claim, entry, locked, record);
            }
            Err(lost(&record, claim.owner()))
        })
    }
}

impl SessionLocks for Files {}

fn lost(record: &Record, owner: tenure_core::Owner) -> Error {
    Error::lost(if record.was_forced(owner) { Cause::Forced } else { Cause::Superseded })
}

impl From<Files> for AnyBackend {
    fn from(store: Files) -> Self {
        Self::erase(store).inspect().restore().sessions().build()
    }
}

impl fmt::Debug for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Files").field("folder", &self.0.folder.path).finish_non_exhaustive()
    }
}
