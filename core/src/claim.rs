//! What a backend is asked: one claim on one name, with the token that makes it repeatable.

use std::any::Any;
use std::fmt;
use std::panic::Location;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::observe::Tally;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::{Error, Fence, IntoName, Moment, Owner, Result, Site, Ttl};

/// One acquisition, from its first attempt to its release.
///
/// Made by core, read by backends. Every attempt, renewal and release of one acquisition carries
/// the same claim, so a backend can carry out any of them twice and give the same answer.
#[derive(Clone)]
pub struct Claim {
    target: Arc<Target>,
    owner: Owner,
    term: Term,
    mode: Mode,
    floor: Fence,
    detached: bool,
    waits: bool,
    process: u32,
    place: &'static Location<'static>,
    tally: Tally,
}

impl Claim {
    /// The key in the store: the settings' prefix and the name.
    #[inline]
    #[must_use]
    pub fn key(&self) -> &str {
        &self.target.key
    }

    /// The name without the prefix.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.target.key[self.target.prefix_len..]
    }

    /// The token of this acquisition.
    #[inline]
    #[must_use]
    pub fn owner(&self) -> Owner {
        self.owner
    }

    /// How long the grant is to last.
    #[inline]
    #[must_use]
    pub fn term(&self) -> Term {
        self.term
    }

    /// What is asked for: the lock alone, a share of it, or some of its permits.
    #[inline]
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The highest fence that the caller has seen for this name; the grant's must be above it.
    #[inline]
    #[must_use]
    pub fn floor(&self) -> Fence {
        self.floor
    }

    /// Whether the grant must outlive the process that asked for it.
    ///
    /// A store that can tell that a holder died frees the lock at once, unless this is set: then
    /// only the end of the lease, a release or a force release does.
    #[inline]
    #[must_use]
    pub fn is_detached(&self) -> bool {
        self.detached
    }

    /// Whether the caller waits if it is denied. A store with a queue of its own can give it a place in
    /// the same step, and says so by [`Denied::queued`](crate::Denied::queued).
    #[inline]
    #[must_use]
    pub fn waits(&self) -> bool {
        self.waits
    }

    /// The process that asks, by its id. Another one than before means that this is a forked child,
    /// which must not use its parent's connections and descriptors. Zero in a store inside the
    /// process, which is copied whole.
    #[inline]
    #[must_use]
    pub fn process(&self) -> u32 {
        self.process
    }

    /// Who asks, for people: the lock's label, or host name and process id.
    #[must_use]
    pub fn label(&self) -> &str {
        self.target.label.as_deref().unwrap_or_else(|| process_label())
    }

    /// The label that the lock was given, if it was given one.
    #[inline]
    #[must_use]
    pub fn own_label(&self) -> Option<&str> {
        self.target.label.as_deref()
    }

    /// The place in the program that asks.
    #[inline]
    #[must_use]
    pub fn place(&self) -> &'static Location<'static> {
        self.place
    }

    /// What the backend found out about this name before, such as an open file or a parsed key;
    /// found out now if this is the first claim of its `Lock`.
    ///
    /// All claims of one `Lock` and its clones share one such value. It is dropped with them.
    ///
    /// # Errors
    ///
    /// Those of `resolve`.
    pub fn resolved<T: Send + Sync + 'static>(
        &self,
        resolve: impl FnOnce() -> Result<Arc<T>>,
    ) -> Result<Resolved<'_, T>> {
        let slot = &self.target.slot;
        match slot.get() {
            Some(found) => match found.downcast_ref() {
                Some(found) => Ok(Resolved::Kept(found)),
                // A backend that wraps another came first; each resolves for itself.
                None => resolve().map(Resolved::Fresh),
            },
            None => {
                let kept = slot.set(resolve()?);
                match slot.get().and_then(|found| found.downcast_ref()) {
                    Some(found) => Ok(Resolved::Kept(found)),
                    // Another thread's wrapper was faster.
                    None => {
                        let fresh = kept.err().and_then(|fresh| fresh.downcast().ok());
                        Ok(Resolved::Fresh(fresh.expect("it was made as a `T` just now")))
                    }
                }
            }
        }
    }

    pub(crate) fn new(
        target: Arc<Target>,
        site: &Site,
        owner: Owner,
        place: &'static Location<'static>,
    ) -> Result<Self> {
        if let Some(refused) = &target.refused {
            return Err(Error::new(refused.0, refused.1.clone()));
        }
        Ok(Self {
            owner,
            term: target.term()?,
            mode: target.mode()?,
            floor: Fence::new(target.floor.load(Ordering::Relaxed)),
            detached: !target.release_on_drop,
            waits: false,
            process: if site.is_direct() { 0 } else { std::process::id() },
            place,
            tally: Tally::begin(site),
            target,
        })
    }

    /// The claim of a caller who waits.
    pub(crate) fn waiting(self) -> Self {
        Self { waits: true, ..self }
    }

    pub(crate) fn tally(&self) -> &Tally {
        &self.tally
    }

    pub(crate) fn target(&self) -> &Target {
        &self.target
    }

    pub(crate) fn seen(&self, fence: Fence) {
        self.target.floor.fetch_max(fence.get(), Ordering::Relaxed);
    }
}

impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claim")
            .field("key", &self.key())
            .field("owner", &self.owner)
            .field("term", &self.term)
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}

/// How long a grant is to last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Term {
    /// Until the lifetime passes, whatever the holder does, unless it renews by itself.
    Fixed(Ttl),
    /// As `Fixed`, but core renews it until it is released. A store that ends with the process may
    /// grant it without an end.
    Kept(Ttl),
    /// As long as the store can tell that the holder's session lives; asked only of backends with
    /// [`SessionLocks`](crate::SessionLocks).
    Session,
}

impl Term {
    /// The lifetime, if it has one.
    #[must_use]
    pub fn ttl(self) -> Option<Ttl> {
        match self {
            Self::Fixed(ttl) | Self::Kept(ttl) => Some(ttl),
            Self::Session => None,
        }
    }
}

/// What is asked for on a name. The modes exclude each other on one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Mode {
    /// The lock for one holder alone.
    Exclusive,
    /// A share that any number may hold while nobody holds it alone.
    Shared,
    /// One of at most this many permits.
    Permit {
        /// How many may hold at once, 1 or more.
        limit: u32,
    },
}

/// A value that a backend resolved for a claim, shared or its own.
#[derive(Debug)]
pub enum Resolved<'c, T> {
    /// Kept with the lock that made the claim.
    Kept(&'c T),
    /// Resolved for this call.
    Fresh(Arc<T>),
}

impl<T> std::ops::Deref for Resolved<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        match self {
            Self::Kept(value) => value,
            Self::Fresh(value) => value,
        }
    }
}

/// What a `Lock` is of: the key and the options, shared by its clones and its claims.
pub(crate) struct Target {
    key: Box<str>,
    prefix_len: usize,
    refused: Option<(crate::Kind, Box<str>)>,
    slot: OnceLock<Arc<dyn Any + Send + Sync>>,
    floor: AtomicU64,
    max_ttl: Ttl,
    lease: Ttl,
    pub(crate) ttl: Option<Duration>,
    pub(crate) keep_alive: bool,
    pub(crate) session: bool,
    pub(crate) mode: Mode,
    pub(crate) sleep: Duration,
    pub(crate) recheck: Duration,
    pub(crate) release_on_drop: bool,
    pub(crate) hold_at_least: Option<Duration>,
    pub(crate) label: Option<Box<str>>,
}

impl Target {
    pub(crate) fn new(site: &Site, name: impl IntoName) -> Self {
        let settings = site.settings();
        let prefix = settings.prefix();
        let (key, refused) = match name.into_key(prefix) {
            Ok(key) => (key, None),
            Err(error) => (prefix.into(), Some((error.kind(), error.to_string().into_boxed_str()))),
        };
        Self {
            key,
            prefix_len: prefix.len(),
            refused,
            slot: OnceLock::new(),
            floor: AtomicU64::new(0),
            max_ttl: settings.max_ttl(),
            lease: settings.lease(),
            ttl: None,
            keep_alive: false,
            session: false,
            mode: Mode::Exclusive,
            sleep: settings.sleep(),
            recheck: settings.recheck(),
            release_on_drop: settings.release_on_drop(),
            hold_at_least: None,
            label: None,
        }
    }

    /// A copy with options of its own; what was resolved for the name is resolved again.
    pub(crate) fn fork(&self) -> Self {
        Self {
            key: self.key.clone(),
            prefix_len: self.prefix_len,
            refused: self.refused.clone(),
            slot: OnceLock::new(),
            floor: AtomicU64::new(self.floor.load(Ordering::Relaxed)),
            label: self.label.clone(),
            ..*self
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.key[self.prefix_len..]
    }

    fn mode(&self) -> Result<Mode> {
        match self.mode {
            Mode::Permit { limit: 0 } => {
                Err(Error::misconfigured("a lock with 0 permits can never be had; give at least 1"))
            }
            mode => Ok(mode),
        }
    }

    fn term(&self) -> Result<Term> {
        if let Some(least) = self.hold_at_least
            && least > self.max_ttl.get()
        {
            return Err(Error::misconfigured(format!(
                "hold_at_least is {least:?}, longer than max_ttl, {:?}; raise max_ttl in the settings",
                self.max_ttl.get()
            )));
        }
        match (self.session, self.ttl) {
            (true, None) => Ok(Term::Session),
            (true, Some(_)) => {
                Err(Error::misconfigured("a session lock has no ttl; ask for either the session or a ttl"))
            }
            (false, None) => Ok(Term::Kept(self.lease)),
            (false, Some(ttl)) => {
                let ttl = Ttl::at_most(ttl, self.max_ttl)?;
                Ok(if self.keep_alive { Term::Kept(ttl) } else { Term::Fixed(ttl) })
            }
        }
    }
}

fn process_label() -> &'static str {
    static LABEL: OnceLock<Box<str>> = OnceLock::new();
    LABEL.get_or_init(|| format!("{}/{}", host_name(), std::process::id()).into())
}

#[cfg(unix)]
fn host_name() -> String {
    nix::unistd::gethostname().map_or_else(|_| "?".into(), |name| name.to_string_lossy().into_owned())
}

#[cfg(not(unix))]
fn host_name() -> String {
    std::env::var("COMPUTERNAME").unwrap_or_else(|_| "?".into())
}

impl Moment {
    /// Until when a holder may believe in a lease of `ttl` that it asked for at this moment: one
    /// percent and two milliseconds less than the store was asked for, for clocks that run apart.
    #[must_use]
    pub fn valid_for(self, ttl: Duration) -> Self {
        self + ttl.saturating_sub(ttl / 100 + Duration::from_millis(2))
    }
}
