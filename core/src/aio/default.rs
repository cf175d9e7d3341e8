//! The process-wide default store of asynchronous code, and giving up everything at once.

use std::future::poll_fn;
use std::sync::OnceLock;
use std::task::Poll;

use super::{AnyBackend, AsyncBackend};
use crate::{Error, Kind, Result, site};

static DEFAULT: OnceLock<AnyBackend> = OnceLock::new();

/// Makes a store the default of asynchronous code in this process, once, as early as `main` can.
///
/// It stands beside [`tenure::install`](crate::install), which is for code that blocks.
///
/// # Errors
///
/// `Misconfigured` if a default is installed already; the first one stays.
pub fn install(store: impl Into<AnyBackend>) -> Result<()> {
    DEFAULT.set(store.into()).map_err(|refused| {
        let label = default_store().map_or_else(|_| String::new(), |store| format!("{store:?}"));
        Error::misconfigured(format!(
            "a default store is installed already ({label}); install {:?} first, or use it by name",
            refused.site().label()
        ))
    })
}

/// The default store of asynchronous code in this process.
///
/// # Errors
///
/// `NoDefault` if none is installed.
pub fn default_store() -> Result<&'static AnyBackend> {
    DEFAULT.get().ok_or_else(|| {
        Error::new(
            Kind::NoDefault,
            "no default store is installed for asynchronous code; call `tenure::aio::install(store)` at the \
             start of `main`, or name the store",
        )
    })
}

/// Releases every lock that this process holds in stores outside of it, of threads and of tasks,
/// and waits for the stores' answers.
///
/// As [`release_all`](crate::release_all), for a process that was told to stop.
///
/// # Cancel safety
///
/// All releases have begun when this is polled first, and go on in the background if it is dropped.
#[must_use = "the locks whose release failed stay taken until their leases end"]
pub async fn release_all() -> Vec<Error> {
    let mut errors = Vec::new();
    let mut open: Vec<_> = site::held_everywhere().into_iter().map(|lease| lease.give_up_polled()).collect();
    poll_fn(|cx| {
        open.retain_mut(|answer| match answer.as_mut().poll(cx) {
            Poll::Ready(answer) => {
                errors.extend(answer.err());
                false
            }
            Poll::Pending => true,
        });
        if open.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    errors
}
