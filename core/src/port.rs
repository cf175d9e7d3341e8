//! The two ways of speaking to a store: calls that block, and futures that are polled.
//!
//! A lease is one thing for both. What differs stands behind [`Port`].

use std::sync::Arc;

use crate::aio::Task;
use crate::lease::{End, Lease};
use crate::{Renewal, Result, Site};

/// How a lease speaks to its store when nobody waits for the answer. Implemented beside what the
/// two do, in [`lease`](crate::lease).
pub(crate) trait Port: Clone + Send + Sync + 'static {
    type Grant: Send + Sync + 'static;

    fn site(&self) -> &Site;

    /// Asks a store inside this process whether a grant stands.
    fn verify(&self, due: Renewal<'_, Self::Grant>) -> Result<()>;

    /// Renews leases of one store that are due; called in the store's lane.
    fn renew_together(leases: Vec<Arc<Lease<Self>>>);

    /// Releases a lease whose guard was dropped.
    fn end_quietly(lease: Arc<Lease<Self>>);

    /// Releases a lease in the background, again and again while the store does not answer.
    fn release_later(lease: Arc<Lease<Self>>, end: End);

    /// Releases a live lease of a process that was told to stop, and is done when the store has
    /// answered or, for a store that is polled, when a task is under way that will see to it.
    fn give_up(lease: Arc<Lease<Self>>) -> Result<()>;

    /// As [`give_up`](Self::give_up), without blocking and with the store's answer.
    fn give_up_polled(lease: Arc<Lease<Self>>) -> Task<Result<()>>;
}

/// A store whose calls block.
#[derive(Clone)]
pub(crate) struct Blocking<B>(pub(crate) B);

/// A store whose calls are futures.
#[derive(Clone)]
pub(crate) struct Polled<B>(pub(crate) B);
