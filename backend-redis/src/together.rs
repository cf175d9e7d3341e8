//! Which options go together, and why others do not.

use tenure_core::{Error, Result};

/// What a store is made of, as far as one part can exclude another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Fair,
    Replicas,
    Guard,
    Channel,
    Plain,
    Django,
    /// One server.
    One,
    /// One server, on the pool of a program.
    #[cfg(any(test, feature = "r2d2_redis"))]
    Pool,
    Cluster,
    Sentinels,
    Quorum,
}

use Part::{Cluster, Django, Fair, Guard, Quorum, Replicas};

/// The pairs that cannot keep what both promise.
const REFUSED: &[(Part, Part, &str)] = &[
    (
        Fair,
        Django,
        "fair() hands locks on among users of this library; leave it out, or the profile of Django's caches",
    ),
    (
        Fair,
        Quorum,
        "the servers of a quorum know nothing of each other, and each would hand a lock on to another; leave out \
         fair()",
    ),
    (Replicas, Quorum, "a replica of one server is no member of a quorum; leave out replicas()"),
    (
        Guard,
        Cluster,
        "restart_guard() has one key for all locks, which a cluster has no place for; leave it out, and give the \
         nodes `appendonly yes` and `appendfsync always`",
    ),
];

/// Whether parts go together.
///
/// # Errors
///
/// `Misconfigured`, with the reason.
pub(crate) fn check(parts: &[Part]) -> Result<()> {
    let refused = |(one, other, _): &&(Part, Part, &str)| parts.contains(one) && parts.contains(other);
    match REFUSED.iter().find(refused) {
        Some((_, _, why)) => Err(Error::misconfigured(*why)),
        None => Ok(()),
    }
}
