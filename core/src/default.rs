//! The process-wide default store, and giving up everything at once.

use std::sync::OnceLock;

use crate::{AnyBackend, Error, Kind, Result, site};

static DEFAULT: OnceLock<AnyBackend> = OnceLock::new();

/// Makes a store the process-wide default, once, as early as `main` can.
///
/// # Errors
///
/// `Misconfigured` if a default is installed already; the first one stays.
pub fn install(store: impl Into<AnyBackend>) -> Result<()> {
    let store = store.into();
    DEFAULT.set(store).map_err(|refused| {
        let label = default_store().map_or_else(|_| String::new(), |store| format!("{store:?}"));
        Error::misconfigured(format!(
            "a default store is installed already ({label}); install {:?} first, or use it by name",
            crate::Backend::site(&refused).label()
        ))
    })
}

/// The process-wide default store.
///
/// # Errors
///
/// `NoDefault` if none is installed.
pub fn default_store() -> Result<&'static AnyBackend> {
    DEFAULT.get().ok_or_else(|| {
        Error::new(
            Kind::NoDefault,
            "no default store is installed; call `tenure::install(store)` at the start of `main`, or name the store",
        )
    })
}

/// Releases every lock that this process holds in stores outside of it, for a process that was told
/// to stop.
///
/// Their holders see them as lost by [`Cause::Released`](crate::Cause::Released). Locks in local
/// memory are left alone; they end with the process. Returns the errors of those that could not be
/// released; their leases end by themselves.
///
/// Locks of [`aio`](crate::aio) are released in the background, by tasks that the process must give
/// time; [`aio::release_all`](crate::aio::release_all) waits for them.
#[must_use = "the locks whose release failed stay taken until their leases end"]
pub fn release_all() -> Vec<Error> {
    site::held_everywhere().into_iter().filter_map(|lease| lease.give_up().err()).collect()
}
