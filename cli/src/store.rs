//! The stores of this build: which one a URL names, and taking a lock there.

use std::os::fd::BorrowedFd;
use std::time::Duration;

use tenure::fs::FileGrant;
use tenure::{
    Advice, AnyBackend, Backend, Cause, Error, Files, Handle, Held, Inspect, Lock, Moment, Name, Result,
    Settings, Status,
};

/// A store, typed where the type is needed: only a lock in files has a descriptor to inherit.
pub(crate) enum Store {
    Files(Files),
    Any(AnyBackend),
}

/// Which lock is wanted, and how.
pub(crate) struct Wish {
    pub(crate) name: Name,
    pub(crate) patience: Patience,
    pub(crate) ttl: Option<Duration>,
    pub(crate) at_least: Option<Duration>,
    pub(crate) label: Option<String>,
}

/// How long to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    No,
    AtMost(Duration),
    Forever,
}

impl Store {
    /// Opens the store of the `--store` option, else that of `TENURE_STORE`, else the user's own
    /// folder.
    pub(crate) fn open(option: Option<&str>) -> Result<Self> {
        let variable = match std::env::var("TENURE_STORE") {
            Ok(url) => Some(url).filter(|url| !url.is_empty()),
            Err(std::env::VarError::NotPresent) => None,
            Err(std::env::VarError::NotUnicode(_)) => {
                return Err(Error::misconfigured(
                    "TENURE_STORE is not unicode; set it to a URL such as \"file:\"",
                ));
            }
        };
        Self::connect(option.or(variable.as_deref()).unwrap_or("file:"), Settings::from_env()?)
    }

    fn connect(url: &str, settings: Settings) -> Result<Self> {
        // Nothing of a URL but its scheme is ever repeated: it may hold a password.
        match url.split_once(':') {
            Some(("file", _)) => Ok(Self::Files(Files::connect(url, settings)?)),
            Some(("mem", _)) => Err(Error::misconfigured(
                "locks in memory exclude nobody outside of this very process; name another store, such as \"file:\"",
            )),
            _ => Ok(Self::Any(tenure::connect_with(url, settings)?)),
        }
    }

    /// Takes a lock: for as long as this process and its heirs live where the store can tell and
    /// no `ttl` is asked, else on a lease that is kept alive.
    pub(crate) fn take(&self, wish: &Wish) -> Result<Box<dyn Holding>> {
        let name = wish.name.as_str();
        match self {
            Self::Files(files) => {
                let lock = Lock::new(files, name);
                take(if wish.ttl.is_none() { lock.session() } else { lock }, wish, FileGrant::descriptor)
            }
            Self::Any(any) => match any.sessions().filter(|_| wish.ttl.is_none()) {
                Some(sessions) => take(Lock::new(sessions, name).session(), wish, |_| None),
                None => take(Lock::new(any, name), wish, |_| None),
            },
        }
    }

    /// Looking at its locks from outside, if the store can.
    pub(crate) fn inspect(&self) -> Result<&dyn Inspect> {
        let inspect = match self {
            Self::Files(files) => Some(files as &dyn Inspect),
            Self::Any(any) => any.inspect(),
        };
        inspect
            .ok_or_else(|| Error::misconfigured("the locks of this store cannot be looked at from outside"))
    }

    /// What is risky about the store as it is set up.
    pub(crate) fn diagnose(&self) -> Vec<Advice> {
        match self {
            Self::Files(files) => files.diagnose(),
            Self::Any(any) => any.diagnose(),
        }
    }
}

/// The descriptor of a grant, for stores that have one.
type Descriptor<B> = for<'a> fn(&'a <B as Backend>::Grant) -> Option<BorrowedFd<'a>>;

fn take<B: Handle>(lock: Lock<B>, wish: &Wish, descriptor: Descriptor<B>) -> Result<Box<dyn Holding>> {
    // Whatever the environment says: nobody could take up a lock that is not released here.
    let lock = lock.release_on_drop(true);
    let lock = match wish.ttl {
        Some(ttl) => lock.ttl(ttl).keep_alive(),
        None => lock,
    };
    let lock = match wish.at_least {
        Some(least) => lock.hold_at_least(least),
        None => lock,
    };
    let lock = match &wish.label {
        Some(label) => lock.label(label.as_str()),
        None => lock,
    };
    let lease = wish.ttl.unwrap_or_else(|| lock.store().site().settings().lease().get());
    let held = match wish.patience {
        Patience::No => lock.try_acquire(),
        Patience::AtMost(limit) => lock.acquire_for(limit),
        Patience::Forever => lock.acquire(),
    }?;
    Ok(Box::new(Taken { held, lease, descriptor }))
}

/// A lock that is held, whatever its store.
pub(crate) trait Holding: Send {
    /// Its fence.
    fn fence(&self) -> u64;
    /// The length of its lease, if it has one.
    fn lease(&self) -> Option<Duration>;
    /// Until when it is certainly held.
    fn deadline(&self) -> Option<Moment>;
    /// Why it is lost, if it is.
    fn lost(&self) -> Option<Cause>;
    /// Calls back when it is lost.
    fn on_lost(&self, callback: Box<dyn FnOnce(Cause) + Send>);
    /// What other processes may inherit to keep the lock.
    fn descriptor(&self) -> Option<BorrowedFd<'_>>;
    /// Asks the store whether it still stands.
    fn verify(&self) -> Result<()>;
    /// Releases it.
    fn release(self: Box<Self>) -> Result<()>;
    /// Keeps it until this process ends, and after that for its heirs: nothing is released.
    fn leave(self: Box<Self>);
}

struct Taken<B: Handle> {
    held: Lock<B, Held>,
    lease: Duration,
    descriptor: Descriptor<B>,
}

impl<B: Handle> Holding for Taken<B> {
    fn fence(&self) -> u64 {
        self.held.fence().get()
    }

    fn lease(&self) -> Option<Duration> {
        self.deadline().map(|_| self.lease)
    }

    fn deadline(&self) -> Option<Moment> {
        self.held.deadline()
    }

    fn lost(&self) -> Option<Cause> {
        match self.held.status() {
            Status::Lost(cause) => Some(cause),
            Status::Held | Status::Unknown => None,
        }
    }

    fn on_lost(&self, callback: Box<dyn FnOnce(Cause) + Send>) {
        self.held.on_lost(callback);
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        (self.descriptor)(self.held.grant())
    }

    fn verify(&self) -> Result<()> {
        self.held.renew()
    }

    fn release(self: Box<Self>) -> Result<()> {
        self.held.release()
    }

    fn leave(self: Box<Self>) {
        std::mem::forget(self);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_of_no_store_is_refused_without_its_secrets() {
        for url in ["nonsense", "/var/secret", "etcd://me:secret@host/", "mem:secret", "file://secret/x"] {
            let error = Store::connect(url, Settings::default()).err().expect("it names no store");
            assert!(error.is_misconfigured() && !error.to_string().contains("secret"), "{url}: {error}");
        }
    }
}
