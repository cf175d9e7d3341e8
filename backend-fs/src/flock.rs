//! Locks that `flock(1)` and other programs share.

use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::libc;
use tenure_core::{
    AnyBackend, Attempt, Backend, Cause, Claim, Denied, Error, Fence, Granted, Lease, Release, Renewal,
    Result, SessionLocks, Settings, Site, Term, wall_micros,
};

use crate::entry::unavailable;

/// A folder in which the file `NAME` is the lock `NAME`, as `flock NAME command` sees it.
///
/// For living beside programs that use `flock(2)`. Whoever needs none of them is better off with
/// [`Files`](crate::Files): `flock(2)` knows no leases, so that a holder that hangs keeps the lock
/// for ever, and nothing but the file's own lock is stored.
///
/// * A name must be a plain file name: no `/`, not `.` or `..`, at most 255 bytes. The settings'
///   prefix comes before it; set it to `""` to name files exactly.
/// * A `ttl` is `Misconfigured`; there is nothing to renew.
/// * Files are made if need be, never written, and never removed.
/// * The lock stays taken while any process that inherited the descriptor lives.
/// * Fences come from the wall clock and the highest that this process has seen: they survive
///   everything but a clock that goes back.
/// * Waiters look every [`sleep`](Settings::sleep), since others announce nothing.
#[derive(Clone)]
pub struct Flock(Arc<Inner>);

struct Inner {
    site: Site,
    folder: PathBuf,
}

/// A grant of a [`Flock`] store: the locked file.
#[derive(Debug)]
pub struct FlockGrant(File);

impl FlockGrant {
    /// The descriptor that holds the lock.
    #[must_use]
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Flock {
    /// Uses a folder that exists.
    ///
    /// # Errors
    ///
    /// `Misconfigured` if it is no folder.
    pub fn open(folder: impl Into<PathBuf>, settings: Settings) -> Result<Self> {
        let folder = folder.into();
        let label = format!("flock:{}", folder.display());
        if !folder.is_dir() {
            return Err(Error::misconfigured("there is no such folder; make it first").at(&label));
        }
        Ok(Self(Arc::new(Inner { site: Site::new(label, settings), folder })))
    }

    fn path(&self, key: &str) -> Result<PathBuf> {
        let plain = !key.contains(['/', '\0']) && !matches!(key, "." | "..") && key.len() <= 255;
        plain.then(|| self.0.folder.join(key)).ok_or_else(|| {
            Error::invalid_name(
                "beside flock(1) a lock's name is a file's: no `/`, not `.` or `..`, at most 255 bytes",
            )
        })
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
        if let Term::Fixed(_) = claim.term() {
            return Err(Error::misconfigured(
                "flock(2) knows no lifetimes; leave the ttl out, or use `Files`",
            ));
        }
        let path = self.path(claim.key())?;
        loop {
            let file = open(&path)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(Attempt::Denied(Denied::new())),
                Err(TryLockError::Error(error)) => {
                    return Err(unavailable("its file cannot be locked", error).settled());
                }
            }
            if is_current(&file, &path) {
                let fence = Fence::next(Fence::ZERO, claim.floor(), wall_micros());
                return Ok(Attempt::Granted(Granted::new(FlockGrant(file), fence, Lease::Session)));
            }
            // Somebody removed the file in between; a lock on what nobody else can open is none.
        }
    }

    fn renew(&self, due: Renewal<'_, FlockGrant>) -> Result<()> {
        if due.ttl() != std::time::Duration::MAX {
            return Err(Error::misconfigured("flock(2) knows no lifetimes; leave them out, or use `Files`"));
        }
        match is_current(&due.grant().0, &self.path(due.claim().key())?) {
            true => Ok(()),
            false => Err(Error::lost(Cause::Superseded)),
        }
    }

    fn release(&self, end: Release<'_, FlockGrant>) -> Result<()> {
        if end.keep().is_some() {
            let refused = "flock(2) cannot keep a name taken after its release; use `Files`";
            drop(end.grant().0.unlock());
            return Err(Error::misconfigured(refused));
        }
        let current = is_current(&end.grant().0, &self.path(end.claim().key())?);
        end.grant().0.unlock().map_err(|error| unavailable("its file cannot be unlocked", error))?;
        if current { Ok(()) } else { Err(Error::lost(Cause::Superseded)) }
    }

    fn abandon(&self, _: &Claim) {
        // A grant whose answer got lost was closed with it.
    }
}

impl SessionLocks for Flock {}

impl From<Flock> for AnyBackend {
    fn from(store: Flock) -> Self {
        Self::erase(store).sessions().build()
    }
}

impl fmt::Debug for Flock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flock").field("folder", &self.0.folder).finish_non_exhaustive()
    }
}

fn open(path: &Path) -> Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path)
        .map_err(|error| unavailable("its file cannot be opened", error).settled())
}

/// Whether the path still names the open file.
fn is_current(file: &File, path: &Path) -> bool {
    let (Ok(open), Ok(named)) = (file.metadata(), std::fs::symlink_metadata(path)) else { return false };
    (open.dev(), open.ino()) == (named.dev(), named.ino())
}
