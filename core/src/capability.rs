//! What some backends can do and others cannot, told apart by type.

use std::fmt;
use std::time::{Duration, SystemTime};

use crate::{Backend, Claim, Fence, Granted, Mode, Name, Result};

/// The fence of a grant is on disk before the grant is answered, so that no crash of the store can
/// make it go back. What compares fences at a resource asks for this.
#[diagnostic::on_unimplemented(
    message = "the fences of `{Self}` may not survive a crash of the store",
    label = "has no `DurableFence`",
    note = "use a store whose fences are on disk before it answers, or check the clock of its host"
)]
pub trait DurableFence {}

/// Readers may share a lock.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no shared locks",
    label = "cannot be shared on this store",
    note = "take the lock exclusively, or use a store that implements `SharedLocks`"
)]
pub trait SharedLocks {}

/// A counted number of holders may hold a lock at once. A claim is granted while fewer hold it than the
/// claim's own [limit](crate::Mode::Permit), whatever the others gave.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no permits",
    label = "cannot count permits on this store",
    note = "take one of several differently named locks, or use a store that implements `Permits`"
)]
pub trait Permits {}

/// The store can tell that a holder is gone, so that a lock needs no lease.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no session locks",
    label = "cannot hold a lock without a lease on this store",
    note = "leave `.session()` out: the lock is then kept alive on a short lease"
)]
pub trait SessionLocks {}

/// A grant can be taken up again by whoever knows its owner token.
#[diagnostic::on_unimplemented(
    message = "a lock of `{Self}` cannot be restored from its owner token",
    label = "has no `Restore`"
)]
pub trait Restore: Backend {
    /// Takes up the grant that `claim.owner()` holds, and sets its life as for a new grant. Never
    /// makes a grant: nobody can jump the queue with a token of his own making.
    ///
    /// # Errors
    ///
    /// `Lost` if the store does not have the lock for this owner, `Unavailable` as everywhere.
    fn restore(&self, claim: &Claim) -> Result<Granted<Self::Grant>>;
}

/// Looking at locks from outside, and breaking them.
///
/// Names are given and returned without the settings' prefix.
pub trait Inspect: Send + Sync {
    /// Who holds a lock, if anybody does. Looking never changes anything.
    ///
    /// # Errors
    ///
    /// `Unavailable`.
    fn inspect(&self, name: &Name) -> Result<Option<Holder>>;

    /// The locks that are held now and whose names start with `prefix`, in order of their names.
    ///
    /// # Errors
    ///
    /// `Unavailable`.
    fn list(&self, prefix: &str) -> Result<Vec<Holder>>;

    /// Takes a lock away from its holder and returns who that was; `None` if nobody held it.
    ///
    /// The fence moves, so that a gate which has seen the new one refuses the old holder, and the
    /// holder learns at its next renewal that the lock is lost. With [`Breaking::Safe`] the name
    /// stays closed until the holder has let go (dropped or released its lock) or its lease has
    /// run out.
    ///
    /// # Errors
    ///
    /// `Unavailable`.
    fn force_release(&self, name: &Name, breaking: Breaking, reason: &str) -> Result<Option<Holder>>;
}

/// How a lock is taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Breaking {
    /// The name opens when the holder has acknowledged or its lease has run out: never two at once.
    Safe,
    /// The name opens now, although the holder may still be at work. Only fences then keep the two
    /// apart.
    Now,
}

/// A lock as seen from outside.
#[derive(Clone, Debug)]
pub struct Holder {
    name: Name,
    fence: Fence,
    mode: Mode,
    label: Box<str>,
    since: Option<SystemTime>,
    remaining: Option<Duration>,
    breaking: Option<Box<str>>,
}

impl Holder {
    /// A holder as a backend found it; `remaining` is `None` for a lock without a lease.
    #[must_use]
    pub fn new(name: Name, fence: Fence, remaining: Option<Duration>) -> Self {
        Self { name, fence, mode: Mode::Exclusive, label: "".into(), since: None, remaining, breaking: None }
    }

    /// Adds in which mode it holds.
    #[must_use]
    pub fn with_mode(self, mode: Mode) -> Self {
        Self { mode, ..self }
    }

    /// Adds who it says it is.
    #[must_use]
    pub fn with_label(self, label: impl Into<Box<str>>) -> Self {
        Self { label: label.into(), ..self }
    }

    /// Adds when it was granted, by the store's wall clock.
    #[must_use]
    pub fn with_since(self, since: SystemTime) -> Self {
        Self { since: Some(since), ..self }
    }

    /// Adds that it was force-released, for what reason, and has not let go yet.
    #[must_use]
    pub fn with_breaking(self, reason: impl Into<Box<str>>) -> Self {
        Self { breaking: Some(reason.into()), ..self }
    }

    /// The lock's name.
    #[must_use]
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// The fence of the grant; after a force release the moved one.
    #[must_use]
    pub fn fence(&self) -> Fence {
        self.fence
    }

    /// In which mode it holds.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Who it says it is: the lock's label, or host name and process id.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.label
    }

    /// When it was granted, by the store's wall clock, where the store knows.
    #[must_use]
    pub fn since(&self) -> Option<SystemTime> {
        self.since
    }

    /// How long the name stays taken if nothing is renewed; `None` for a lock without a lease.
    #[must_use]
    pub fn remaining(&self) -> Option<Duration> {
        self.remaining
    }

    /// Why it was force-released, if it was and has not let go yet.
    #[must_use]
    pub fn breaking(&self) -> Option<&str> {
        self.breaking.as_deref()
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} held by {:?} with fence {}", self.name, self.label, self.fence)?;
        match self.remaining {
            Some(remaining) => write!(f, ", {:.1} s left", remaining.as_secs_f64()),
            None => f.write_str(", no lease"),
        }
    }
}
