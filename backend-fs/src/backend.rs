//! The store, and its four methods.

use std::fmt;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use nix::fcntl::OFlag;
use tenure_core::{
    Advice, AnyBackend, Attempt, Backend, Cause, Claim, Denied, Error, Fence, Granted, Lease, Mode, Moment,
    Release, Renewal, Restore, Result, SessionLocks, Settings, Site, Term, Watch, wall_micros,
};

use crate::config::{Builder, user_dir};
use crate::entry::{Entry, Inside, lock_session, refused};
use crate::grant::FileGrant;
use crate::ofd::{self, Range};
use crate::record::{Life, Record, Standing, State};
use crate::store::{Store, is_same};
use crate::url;
use crate::watch::Listener;

/// Locks in the files of one folder, for the processes of one host.
///
/// A cheap handle; clones share everything. See the [crate] for what it promises.
#[derive(Clone)]
pub struct Files(pub(crate) Arc<Store>);

/// How often a record file that is being removed is opened anew before giving up.
const REOPENINGS: u32 = 100;

impl Files {
    /// Opens the store in a folder, for this user alone, making the folder if it is not there.
    ///
    /// # Errors
    ///
    /// As [`Builder::open`].
    pub fn open(dir: impl Into<PathBuf>) -> Result<Self> {
        Self::builder(dir).open()
    }

    /// Opens a store with settings of its own, for a group, or on a network file system.
    #[must_use]
    pub fn builder(dir: impl Into<PathBuf>) -> Builder {
        Builder::new(dir.into())
    }

    /// Opens the store of the user who runs the program: `$XDG_STATE_HOME/tenure/locks`, or
    /// `~/.local/state/tenure/locks`.
    ///
    /// # Errors
    ///
    /// `Misconfigured` if the environment does not say where that is; otherwise as
    /// [`Builder::open`].
    pub fn user_default(settings: Settings) -> Result<Self> {
        Self::builder(user_dir()?).settings(settings).open()
    }

    /// Opens the store that a URL names: `file:///absolute/path`, `file:relative/path`, or `file:`
    /// for the user's own. A `%` stands before two hexadecimal digits: `%20` is a space.
    ///
    /// # Errors
    ///
    /// `Misconfigured` for any other URL; otherwise as [`Builder::open`].
    pub fn connect(url: &str, settings: Settings) -> Result<Self> {
        match url::folder(url)? {
            Some(dir) => Self::builder(dir).settings(settings).open(),
            None => Self::user_default(settings),
        }
    }

    pub(crate) fn from_store(store: Store) -> Self {
        Self(Arc::new(store))
    }

    /// Runs `act` in the record of a claim, on the file that has its name now.
    fn inside<T>(
        &self,
        claim: &Claim,
        act: impl Fn(&Arc<Entry>, &Inside<'_>, Record) -> Result<Option<T>>,
    ) -> Result<T> {
        for _ in 0..REOPENINGS {
            let entry = self.0.entry(claim)?;
            if let Some((inside, record)) = self.0.enter(&entry)?
                && let Some(done) = act(&entry, &inside, record)?
            {
                return Ok(done);
            }
        }
        Err(Error::unavailable("the record file is removed again and again; see who removes it").settled())
    }

    /// Makes the record this claim's and its holder alive, under a new number unless this process
    /// has the old one's alive byte.
    ///
    /// Every grant comes through here, so here it is seen whether the record is the last one: nobody
    /// lives who was granted the lock later than it says, and nobody at all if it is of another boot.
    fn give(
        &self,
        claim: &Claim,
        entry: &Arc<Entry>,
        inside: &Inside<'_>,
        mut record: Record,
        fence: Fence,
        now: Moment,
    ) -> Result<Granted<FileGrant>> {
        let (known, wall) = (record.fence, wall_micros());
        if record.boot != self.0.boot && entry.is_anyone_alive()? {
            return self.quarantine(inside, known);
        }
        let life = match claim.term().ttl() {
            Some(ttl) => Life::Until(now + ttl.get()),
            None => Life::Session,
        };
        let mine = record.owner == Some(claim.owner());
        // From here on an error drops the grant, and with it the alive byte.
        let grant = if mine && claim.term() != Term::Session && entry.join(record.seq) {
            let grant = FileGrant::new(entry.clone(), record.seq, None);
            record.live(life, self.0.boot);
            (!entry.is_alive_after(record.seq)?).then_some(grant)
        } else {
            let after = record.seq;
            record.grant(claim.owner(), fence, life, self.0.boot, wall);
            if record.is_spent() {
                return Err(Error::misconfigured(format!(
                    "the record {:?} has no number left for a grant, so it was forged; remove it once \
                     nobody holds the lock",
                    entry.file_name
                )));
            }
            self.come_alive(claim, entry, inside, after, record.seq)?
        };
        let Some(grant) = grant else { return self.quarantine(inside, known) };
        record.detached = claim.is_detached();
        if record.granted == 0 {
            self.collect_now_and_then(claim);
        }
        record.granted = wall;
        record.holder = entry.process;
        inside.write_described(&mut record, claim.label(), "")?;
        entry.queue.served();
        let lease = claim.term().ttl().map_or(Lease::Session, |ttl| Lease::For(ttl.get()));
        Ok(Granted::new(grant, record.fence, lease))
    }

    /// The grant after number `after`, with its holder alive; `None` if the holder of one after that
    /// lives already.
    fn come_alive(
        &self,
        claim: &Claim,
        entry: &Arc<Entry>,
        inside: &Inside<'_>,
        after: u64,
        seq: u64,
    ) -> Result<Option<FileGrant>> {
        let session = match claim.term() {
            Term::Session if entry.is_alive_after(after)? => return Ok(None),
            Term::Session => Some(Arc::new(self.session_file(entry, seq)?)),
            _ if inside.come_alive(after, seq)? => None,
            _ => return Ok(None),
        };
        Ok(Some(FileGrant::new(entry.clone(), seq, session)))
    }

    /// A description of its own that holds the alive byte, so that a child can inherit it without
    /// inheriting anything else.
    fn session_file(&self, entry: &Entry, seq: u64) -> Result<File> {
        let file = match self.0.open_file(&entry.file_name, OFlag::O_RDWR)? {
            Some(file) if is_same(&file, &entry.file)? => file,
            _ => return Err(Error::unavailable("somebody removes the record file; try again").settled()),
        };
        lock_session(&file, seq)?;
        Ok(file)
    }

    /// Closes a record that is not true, and says so.
    fn quarantine<T>(&self, inside: &Inside<'_>, known: Fence) -> Result<T> {
        self.0.quarantine(inside, known)?;
        Err(quarantined(self.0.site.settings().max_ttl().get()))
    }

    /// The record file of a grant in this process; `None` if it is gone.
    fn entry_of(&self, claim: &Claim, grant: &FileGrant) -> Result<Option<Arc<Entry>>> {
        let entry = grant.entry();
        if entry.process.pid == std::process::id() {
            Ok(Some(entry.clone()))
        } else {
            self.0.find(claim.key())
        }
    }
}

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
        if claim.mode() != Mode::Exclusive {
            return Err(Error::misconfigured(
                "locks in files are exclusive; use another store to share them",
            ));
        }
        self.inside(claim, |entry, inside, record| {
            let mine = record.owner == Some(claim.owner());
            let now = Moment::now();
            match record.standing(now, self.0.boot) {
                Standing::Held { .. } if mine && record.state != State::Closed => {
                    let fence = record.fence;
                    return self
                        .give(claim, entry, inside, record, fence, now)
                        .map(Attempt::Granted)
                        .map(Some);
                }
                Standing::Held { remaining, alive } => {
                    let dead = match alive {
                        Some(seq) => !entry.is_alive(seq)?,
                        None => false,
                    };
                    if !dead {
                        let denied = Denied::new().holder(record.fence);
                        let denied = match remaining {
                            Some(remaining) => denied.retry_after(remaining),
                            None => denied,
                        };
                        return Ok(Some(Attempt::Denied(denied)));
                    }
                }
                Standing::Quarantined(wait) => {
                    return Err(quarantined(wait));
                }
                Standing::Impossible => return self.quarantine(inside, record.fence),
                Standing::Retired => return Ok(None),
                // Leases are over by then, but a session has no end that could be waited for.
                Standing::Free if record.state == State::Quarantined && entry.is_session_alive()? => {
                    return Err(Error::quarantined(
                        self.0.site.settings().recheck(),
                        "the record of a session was damaged and a session still lives, so it opens when that \
                         ends",
                    ));
                }
                Standing::Free => {}
            }
            if entry.is_removed(now, Duration::from_millis(1))? {
                return Ok(None);
            }
            let fence = Fence::next(record.fence, claim.floor(), wall_micros());
            self.give(claim, entry, inside, record, fence, now).map(Attempt::Granted).map(Some)
        })
    }

    fn renew(&self, due: Renewal<'_, FileGrant>) -> Result<()> {
        let claim = due.claim();
        let superseded = || Err(Error::lost(Cause::Superseded));
        let Some(entry) = self.entry_of(claim, due.grant())? else { return superseded() };
        let Some((inside, mut record)) = self.0.enter(&entry)? else { return superseded() };
        let now = Moment::now();
        if entry.is_removed(now, Duration::ZERO)? {
            return superseded();
        }
        verify(&record, claim, now, self.0.boot)?;
        if record.is_session() || due.ttl() == Duration::MAX {
            return Ok(());
        }
        record.live(Life::Until(now + due.ttl()), self.0.boot);
        inside.write(&record)
    }

    fn release(&self, end: Release<'_, FileGrant>) -> Result<()> {
        let claim = end.claim();
        let superseded = || Err(Error::lost(Cause::Superseded));
        let Some(entry) = self.entry_of(claim, end.grant())? else { return superseded() };
        let Some((inside, mut record)) = self.0.enter(&entry)? else { return superseded() };
        let now = Moment::now();
        let held = verify(&record, claim, now, self.0.boot);
        if record.owner == Some(claim.owner()) && record.state != State::Broken {
            match end.keep().filter(|_| held.is_ok()) {
                Some(keep) => record.close_until(now + keep, State::Lingering, self.0.boot),
                None => record.free(),
            }
            inside.write(&record)?;
        }
        // Another thread of this process may hold it by now, through the same description.
        end.grant().end(inside);
        held
    }

    fn abandon(&self, claim: &Claim) {
        let Ok(Some(entry)) = self.0.find(claim.key()) else { return };
        let Ok(Some((inside, mut record))) = self.0.enter(&entry) else { return };
        if record.owner == Some(claim.owner()) {
            record.free();
            let _ = inside.write(&record);
            entry.end(record.seq);
        }
    }

    fn watch(&self, claim: &Claim) -> Result<Watch> {
        let listener = self.0.local().listener.get_or_init(|| Listener::start(&self.0));
        let entry = self.0.entry(claim)?;
        let registration = listener.as_ref().and_then(|listener| listener.register(&entry));
        let open = || self.0.open_file(&entry.file_name, OFlag::O_RDWR).ok().flatten();
        let ticket = entry.queue.stand(open);
        let armed = |registration| Watch::armed((registration, ticket)).in_turn();
        Ok(registration.map_or_else(Watch::none, armed))
    }

    fn is_awaited(&self, claim: &Claim) -> bool {
        let awaited = self.0.entry(claim).and_then(|entry| {
            ofd::is_locked(&entry.file, Range::AWAITED)
                .map_err(|source| refused("the waiters cannot be looked for", source))
        });
        awaited.unwrap_or(false)
    }

    fn diagnose(&self) -> Vec<Advice> {
        self.0.diagnose()
    }
}

impl SessionLocks for Files {}

impl Restore for Files {
    fn restore(&self, claim: &Claim) -> Result<Granted<FileGrant>> {
        self.inside(claim, |entry, inside, record| {
            let now = Moment::now();
            verify(&record, claim, now, self.0.boot)?;
            // The lock of a holder that died is free, and nobody jumps the queue to it.
            if let Standing::Held { alive: Some(seq), .. } = record.standing(now, self.0.boot)
                && !entry.is_alive(seq)?
            {
                return Err(Error::lost(Cause::Superseded));
            }
            let fence = record.fence;
            self.give(claim, entry, inside, record, fence, now).map(Some)
        })
    }
}

impl From<Files> for AnyBackend {
    fn from(files: Files) -> Self {
        Self::erase(files).inspect().restore().sessions().build()
    }
}

impl fmt::Debug for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Files").field("dir", &self.0.path).finish_non_exhaustive()
    }
}

fn quarantined(wait: Duration) -> Error {
    Error::quarantined(
        wait,
        "the record was not whole or not true, so its holder is unknown; it opens after max_ttl",
    )
}

/// Whether a claim holds what a record says; why it does not any more.
fn verify(record: &Record, claim: &Claim, now: Moment, boot: [u8; 16]) -> Result<()> {
    let mine = record.owner == Some(claim.owner());
    match (record.state, record.standing(now, boot)) {
        _ if !mine || record.boot != boot => Err(Error::lost(Cause::Superseded)),
        (State::Closed | State::Broken, _) => Err(Error::lost(Cause::Forced)),
        (_, Standing::Held { .. }) => Ok(()),
        _ => Err(Error::lost(Cause::Expired)),
    }
}
