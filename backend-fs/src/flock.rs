//! Locks that the `flock` command understands.

use std::collections::HashMap;
use std::fmt;
use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use nix::libc;
use tenure_core::{
    AnyBackend, Attempt, Backend, Cause, Claim, Denied, Error, Fence, Granted, Lease, Mode, Owner, Release,
    Renewal, Result, SessionLocks, Settings, Site, Term, wall_micros,
};

use crate::config::refuse_network_fs;
use crate::entry::{read_at, refused};

/// Locks that exclude, and are excluded by, the `flock` command of util-linux and all that calls
/// flock(2) on the same file.
///
/// The name of a lock is the name of its file in the folder, without the settings' prefix, so that
/// `flock /run/app/backup.lock backup` and `Lock::new(flock, "backup.lock")` exclude each other. The
/// file is made if it is not there, never read or written, and never removed.
///
/// A plain flock has no lease: it is held until it is released or the holder's process ends, and a
/// hung holder holds it. A lock that is kept alive is therefore granted as a session, and one with
/// a fixed ttl is refused. Waiters poll every [`sleep`](Settings::sleep), 100 ms by default.
///
/// Fences lie in a file of their own, `.NAME.fence`, beside the locked one. They grow from one
/// holder of tenure to the next and survive reboots; who takes the lock by the `flock` command has
/// none.
///
/// ```no_run
/// use tenure_core::Lock;
/// use tenure_fs::Flock;
///
/// let flock = Flock::open("/run/app")?;
/// let held = Lock::new(&flock, "backup.lock").acquire()?;
/// # Ok::<(), tenure_core::Error>(())
/// ```
#[derive(Clone)]
pub struct Flock(Arc<Inner>);

struct Inner {
    site: Site,
    dir: PathBuf,
    /// What this process holds, so that asking again with the same token gives the same grant.
    held: Mutex<HashMap<Owner, Weak<Locked>>>,
}

struct Locked {
    file: File,
    path: PathBuf,
    fence: Fence,
    released: AtomicBool,
}

/// A grant of a [`Flock`]: the locked file. The lock ends when its last copy is closed.
pub struct FlockGrant(Arc<Locked>);

impl FlockGrant {
    /// The locked descriptor, for a child process to inherit. It is closed on `exec`; hand the
    /// child a duplicate that is not.
    #[must_use]
    pub fn descriptor(&self) -> std::os::fd::BorrowedFd<'_> {
        std::os::fd::AsFd::as_fd(&self.0.file)
    }

    /// The same grant, for a thread that works on it.
    pub(crate) fn share(&self) -> Self {
        Self(self.0.clone())
    }
}

impl Flock {
    /// Uses the files of a folder, which must be there.
    ///
    /// # Errors
    ///
    /// `Misconfigured` if the folder is on a network file system, `Unavailable` if it cannot be
    /// opened.
    pub fn open(dir: impl Into<PathBuf>) -> Result<Self> {
        Self::open_with(dir, Settings::default())
    }

    /// As [`open`](Self::open), with settings of its own.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_with(dir: impl Into<PathBuf>, settings: Settings) -> Result<Self> {
        let dir = dir.into();
        let label = format!("flock:{}", dir.display());
        let opened = File::open(&dir).map_err(|source| {
            refused("the folder cannot be opened; make it, or name another", source).at(&label)
        })?;
        refuse_network_fs(&opened).map_err(|error| error.at(&label))?;
        Ok(Self(Arc::new(Inner { site: Site::new(label, settings), dir, held: Mutex::default() })))
    }

    fn held(&self) -> MutexGuard<'_, HashMap<Owner, Weak<Locked>>> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locks the file that has the name, and still has it once it is locked.
    fn lock(&self, claim: &Claim) -> Result<Option<Locked>> {
        let path = self.0.dir.join(file_name(claim.name())?);
        loop {
            let file = open(&path)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(source)) => return Err(refused("flock was refused", source)),
            }
            if same_file(&file, &path)? {
                let fence = self.next_fence(claim)?;
                return Ok(Some(Locked { file, path, fence, released: AtomicBool::new(false) }));
            }
            // It was removed and made anew between opening and locking; nobody meets us there.
        }
    }

    /// The next fence, while the lock is held.
    fn next_fence(&self, claim: &Claim) -> Result<Fence> {
        let file = open(&self.0.dir.join(format!(".{}.fence", claim.name())))?;
        let mut bytes = [0; 8];
        let len = read_at(&file, &mut bytes, 0)?;
        let stored = if len == bytes.len() { u64::from_le_bytes(bytes) } else { 0 };
        // A number from far in the future was not written by us.
        let stored = if stored < 1 << 53 { Fence::new(stored) } else { Fence::ZERO };
        let fence = Fence::next(stored, claim.floor(), wall_micros());
        file.write_all_at(&fence.get().to_le_bytes(), 0)
            .map_err(|source| refused("the fence could not be written; free some space", source))?;
        Ok(fence)
    }
}

impl Backend for Flock {
    type Grant = FlockGrant;
    type Handle = Self;

    fn handle(&self) -> Self {
        self.clone()
    }

    fn site(&self) -> &Site {
        &self.0.site
    }

    fn try_acquire(&self, claim: &Claim) -> Result<Attempt<FlockGrant>> {
        if claim.mode() != Mode::Exclusive {
            return Err(Error::misconfigured(
                "flock locks are exclusive here; use another store to share them",
            ));
        }
        if let Term::Fixed(_) = claim.term() {
            return Err(Error::misconfigured(
                "a flock has no ttl, it ends when it is released or its process does; leave the ttl out, \
                 or use a store with leases",
            ));
        }
        if claim.is_detached() {
            return Err(Error::misconfigured(
                "a flock ends with its process; leave release_on_drop on, or use a store with leases",
            ));
        }
        let again = self.held().get(&claim.owner()).and_then(Weak::upgrade);
        let locked = match again.filter(|locked| !locked.released.load(Ordering::SeqCst)) {
            Some(locked) => locked,
            None => match self.lock(claim)? {
                Some(locked) => Arc::new(locked),
                None => return Ok(Attempt::Denied(Denied::new())),
            },
        };
        let mut held = self.held();
        held.retain(|_, locked| locked.strong_count() > 0);
        held.insert(claim.owner(), Arc::downgrade(&locked));
        let fence = locked.fence;
        Ok(Attempt::Granted(Granted::new(FlockGrant(locked), fence, Lease::Session)))
    }

    fn renew(&self, due: Renewal<'_, FlockGrant>) -> Result<()> {
        let locked = &due.grant().0;
        // Who opens a file that replaced this one does not meet this lock.
        match !locked.released.load(Ordering::SeqCst) && same_file(&locked.file, &locked.path)? {
            true => Ok(()),
            false => Err(Error::lost(Cause::Superseded)),
        }
    }

    fn release(&self, end: Release<'_, FlockGrant>) -> Result<()> {
        let locked = &end.grant().0;
        if end.keep().is_some() {
            return Err(Error::misconfigured(
                "a flock cannot be kept after its release; leave hold_at_least out",
            ));
        }
        if locked.released.swap(true, Ordering::SeqCst) {
            return Err(Error::lost(Cause::Superseded));
        }
        self.held().remove(&end.claim().owner());
        let whole = same_file(&locked.file, &locked.path)?;
        locked.file.unlock().map_err(|source| refused("the file could not be unlocked", source))?;
        self.0.site.notify(end.claim().key());
        if whole { Ok(()) } else { Err(Error::lost(Cause::Superseded)) }
    }

    /// Closes nothing that is in use: a grant whose answer got lost was closed with it.
    fn abandon(&self, claim: &Claim) {
        self.held().remove(&claim.owner());
    }
}

impl SessionLocks for Flock {}

impl From<Flock> for AnyBackend {
    fn from(flock: Flock) -> Self {
        Self::erase(flock).sessions().build()
    }
}

impl fmt::Debug for Flock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flock").field("dir", &self.0.dir).finish_non_exhaustive()
    }
}

impl fmt::Debug for FlockGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FlockGrant").field("path", &self.0.path).finish_non_exhaustive()
    }
}

/// The name of a lock as that of a file in the folder.
fn file_name(name: &str) -> Result<&str> {
    let plain = !name.contains(['/', '\0']) && name != "." && name != ".." && name.len() <= 240;
    plain.then_some(name).ok_or_else(|| {
        Error::invalid_name("a flock lock is named like its file: at most 240 bytes, no slash, not a folder")
    })
}

/// Whether the path still names this very file.
fn same_file(file: &File, path: &Path) -> Result<bool> {
    let looked = |source| refused("the file cannot be looked at", source);
    let found = file.metadata().map_err(looked)?;
    match std::fs::symlink_metadata(path) {
        Ok(named) => Ok((named.dev(), named.ino()) == (found.dev(), found.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(looked(source)),
    }
}

/// Opens a plain file for everybody who may write in the folder, as the `flock` command does.
fn open(path: &Path) -> Result<File> {
    let flags = libc::O_NOFOLLOW | libc::O_CLOEXEC | libc::O_NONBLOCK | libc::O_NOCTTY;
    let mut options = File::options();
    options.read(true).custom_flags(flags).mode(0o666);
    let made = options.clone().write(true).create(true).truncate(false).open(path);
    // A file that may only be read can be locked all the same.
    let opened = match made {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => options.open(path),
        made => made,
    };
    let file = opened.map_err(|source| match source.raw_os_error() {
        Some(libc::ELOOP) => {
            Error::misconfigured("the file is a link, and links are not followed; name the file itself")
                .with_source(source)
        }
        Some(libc::EMFILE) => {
            refused("this process has too many open files; raise its limit (ulimit -n)", source)
        }
        _ => refused("the file cannot be opened; check owner and mode of it and of its folder", source),
    })?;
    let found = file.metadata().map_err(|source| refused("the file cannot be looked at", source))?;
    match found.is_file() {
        true => Ok(file),
        false => Err(Error::misconfigured("this is not a plain file; name another")),
    }
}
