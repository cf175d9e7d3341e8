//! What some stores can do and others cannot, where doing it speaks to the store.

use std::future::Future;

use super::AsyncBackend;
use crate::{Breaking, Claim, Granted, Holder, Name, Result};

/// A grant can be taken up again by whoever knows its owner token; the sibling of
/// [`Restore`](crate::Restore).
#[diagnostic::on_unimplemented(
    message = "a lock of `{Self}` cannot be restored from its owner token",
    label = "has no `AsyncRestore`"
)]
pub trait AsyncRestore: AsyncBackend {
    /// Takes up the grant that `claim.owner()` holds; see [`Restore::restore`](crate::Restore::restore).
    ///
    /// # Errors
    ///
    /// `Lost` if the store does not have the lock for this owner, `Unavailable` as everywhere.
    fn restore(&self, claim: &Claim) -> impl Future<Output = Result<Granted<Self::Grant>>> + Send;
}

/// Looking at locks from outside, and breaking them; the sibling of [`Inspect`](crate::Inspect).
pub trait AsyncInspect: Send + Sync {
    /// Who holds a lock, if anybody does; see [`Inspect::inspect`](crate::Inspect::inspect).
    ///
    /// # Errors
    ///
    /// `Unavailable`.
    fn inspect(&self, name: &Name) -> impl Future<Output = Result<Option<Holder>>> + Send;

    /// The locks that are held now and whose names start with `prefix`, in order of their names.
    ///
    /// # Errors
    ///
    /// `Unavailable`.
    fn list(&self, prefix: &str) -> impl Future<Output = Result<Vec<Holder>>> + Send;

    /// Takes a lock away from its holder and returns who that was; see
    /// [`Inspect::force_release`](crate::Inspect::force_release).
    ///
    /// # Errors
    ///
    /// `Unavailable`.
    fn force_release(
        &self,
        name: &Name,
        breaking: Breaking,
        reason: &str,
    ) -> impl Future<Output = Result<Option<Holder>>> + Send;
}
