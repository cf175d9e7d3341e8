//! Systems without byte locks of open file descriptions: everything compiles, and opening says no.

use std::path::PathBuf;

use tenure_core::aio::{self, AsyncBackend, AsyncInspect, AsyncRestore, Task};
use tenure_core::{
    AnyBackend, Attempt, Backend, Breaking, Claim, Error, Granted, Holder, Inspect, Name, Release, Renewal,
    Restore, Result, SessionLocks, Settings, Site,
};

fn refused<T>() -> Result<T> {
    Err(Error::misconfigured(
        "locks in files need Linux, whose byte locks end with the open file; use another store here",
    ))
}

/// How a store in a folder is to be opened.
#[derive(Clone, Debug)]
pub struct Builder(());

impl Builder {
    /// Sets the defaults of the store's locks.
    #[must_use]
    pub fn settings(self, settings: Settings) -> Self {
        drop(settings);
        self
    }

    /// Sets whether the folder's group may use the store too.
    #[must_use]
    pub fn group(self, _group: bool) -> Self {
        self
    }

    /// Sets whether a folder on a network file system is accepted.
    #[must_use]
    pub fn allow_network_fs(self, _allow: bool) -> Self {
        self
    }

    /// Is refused on this system.
    ///
    /// # Errors
    ///
    /// `Misconfigured`.
    pub fn open(self) -> Result<Files> {
        refused()
    }
}

macro_rules! refused_stores {
    ($($(#[$doc:meta])* $store:ident, $grant:ident;)*) => {$(
        $(#[$doc])*
        ///
        /// There is none on this system.
        #[derive(Clone, Debug)]
        pub enum $store {}

        /// What is kept of a grant. There is none on this system.
        #[derive(Debug)]
        pub enum $grant {}

        impl $store {
            /// Is refused on this system.
            ///
            /// # Errors
            ///
            /// `Misconfigured`.
            pub fn open(_dir: impl Into<PathBuf>) -> Result<Self> {
                refused()
            }
        }

        impl Backend for $store {
            type Grant = $grant;
            type Handle = Self;

            fn handle(&self) -> Self {
                match *self {}
            }

            fn site(&self) -> &Site {
                match *self {}
            }

            fn try_acquire(&self, _claim: &Claim) -> Result<Attempt<$grant>> {
                match *self {}
            }

            fn renew(&self, _due: Renewal<'_, $grant>) -> Result<()> {
                match *self {}
            }

            fn release(&self, _end: Release<'_, $grant>) -> Result<()> {
                match *self {}
            }
        }

        impl AsyncBackend for $store {
            type Grant = $grant;
            type Handle = Self;

            fn handle(&self) -> Self {
                match *self {}
            }

            fn site(&self) -> &Site {
                match *self {}
            }

            async fn try_acquire(&self, _claim: &Claim) -> Result<Attempt<$grant>> {
                match *self {}
            }

            async fn renew(&self, _due: Renewal<'_, $grant>) -> Result<()> {
                match *self {}
            }

            async fn release(&self, _end: Release<'_, $grant>) -> Result<()> {
                match *self {}
            }

            fn spawn(&self, _task: Task) {
                match *self {}
            }
        }

        impl SessionLocks for $store {}

        impl From<$store> for AnyBackend {
            fn from(store: $store) -> Self {
                match store {}
            }
        }

        impl From<$store> for aio::AnyBackend {
            fn from(store: $store) -> Self {
                match store {}
            }
        }
    )*};
}

refused_stores! {
    /// Locks in the files of one folder, for the processes of one host.
    Files, FileGrant;
    /// Locks that exclude, and are excluded by, the `flock` command of util-linux.
    Flock, FlockGrant;
}

impl Files {
    /// A builder whose [`open`](Builder::open) is refused on this system.
    #[must_use]
    pub fn builder(_dir: impl Into<PathBuf>) -> Builder {
        Builder(())
    }

    /// Is refused on this system.
    ///
    /// # Errors
    ///
    /// `Misconfigured`.
    pub fn user_default(_settings: Settings) -> Result<Self> {
        refused()
    }

    /// Is refused on this system.
    ///
    /// # Errors
    ///
    /// `Misconfigured`.
    pub fn connect(_url: &str, _settings: Settings) -> Result<Self> {
        refused()
    }

    /// Removes record files of names long unused.
    ///
    /// # Errors
    ///
    /// None: there is no store to call it on.
    pub fn collect(&self, _unused_for: std::time::Duration) -> Result<Collected> {
        match *self {}
    }
}

impl Flock {
    /// Is refused on this system.
    ///
    /// # Errors
    ///
    /// `Misconfigured`.
    pub fn open_with(_dir: impl Into<PathBuf>, _settings: Settings) -> Result<Self> {
        refused()
    }
}

impl Restore for Files {
    fn restore(&self, _claim: &Claim) -> Result<Granted<FileGrant>> {
        match *self {}
    }
}

impl Inspect for Files {
    fn inspect(&self, _name: &Name) -> Result<Option<Holder>> {
        match *self {}
    }

    fn list(&self, _prefix: &str) -> Result<Vec<Holder>> {
        match *self {}
    }

    fn force_release(&self, _name: &Name, _breaking: Breaking, _reason: &str) -> Result<Option<Holder>> {
        match *self {}
    }
}

impl AsyncRestore for Files {
    async fn restore(&self, _claim: &Claim) -> Result<Granted<FileGrant>> {
        match *self {}
    }
}

impl AsyncInspect for Files {
    async fn inspect(&self, _name: &Name) -> Result<Option<Holder>> {
        match *self {}
    }

    async fn list(&self, _prefix: &str) -> Result<Vec<Holder>> {
        match *self {}
    }

    async fn force_release(&self, _: &Name, _: Breaking, _: &str) -> Result<Option<Holder>> {
        match *self {}
    }
}

/// What a collection did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected(());

impl Collected {
    /// How many record files were removed.
    #[must_use]
    pub fn removed(&self) -> u64 {
        0
    }

    /// How many stayed.
    #[must_use]
    pub fn kept(&self) -> u64 {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opening_is_plainly_refused() {
        for error in [
            Files::open("x").unwrap_err(),
            Files::user_default(Settings::default()).unwrap_err(),
            Files::connect("file:", Settings::default()).unwrap_err(),
            Files::builder("x").group(true).open().unwrap_err(),
            Flock::open("x").unwrap_err(),
        ] {
            assert!(error.is_misconfigured() && error.to_string().contains("Linux"), "{error}");
        }
    }
}
