//! What is known of an acquisition while it lasts, and for how long a lock was held.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use crate::{Fence, Moment, Site};

/// When an acquisition began and what came of it so far; shared by the copies of its claim.
#[derive(Clone)]
pub(crate) struct Tally(Arc<Inner>);

struct Inner {
    began: Moment,
    attempts: AtomicU32,
    contended: AtomicBool,
    quarantined: AtomicBool,
    /// Of the grant that it led to; zero before.
    fence: AtomicU64,
}

impl Tally {
    pub(crate) fn begin(site: &Site) -> Self {
        Self(Arc::new(Inner {
            began: site.now(),
            attempts: AtomicU32::new(0),
            contended: AtomicBool::new(false),
            quarantined: AtomicBool::new(false),
            fence: AtomicU64::new(0),
        }))
    }

    /// The store is asked.
    pub(crate) fn asked(&self) {
        self.0.attempts.fetch_add(1, Ordering::Relaxed);
    }

    /// The store has granted it.
    pub(crate) fn granted(&self, fence: Fence) {
        self.0.fence.store(fence.get(), Ordering::Relaxed);
    }

    pub(super) fn is_first_denial(&self) -> bool {
        !self.0.contended.swap(true, Ordering::Relaxed)
    }

    pub(super) fn is_first_quarantine(&self) -> bool {
        !self.0.quarantined.swap(true, Ordering::Relaxed)
    }

    pub(super) fn waited(&self, site: &Site) -> Duration {
        site.now().since(self.0.began)
    }

    #[cfg_attr(not(feature = "tracing"), allow(dead_code, reason = "told in events only"))]
    pub(super) fn attempts(&self) -> u32 {
        self.0.attempts.load(Ordering::Relaxed)
    }

    pub(super) fn fence(&self) -> Fence {
        Fence::new(self.0.fence.load(Ordering::Relaxed))
    }
}

/// For how long a lock was held.
#[derive(Clone, Copy, Default)]
pub(crate) struct HeldFor(Duration);

impl HeldFor {
    pub(crate) fn since(granted: Option<Moment>, now: impl FnOnce() -> Moment) -> Self {
        Self(granted.map_or(Duration::ZERO, |granted| now().since(granted)))
    }

    pub(super) fn as_secs_f64(self) -> f64 {
        self.0.as_secs_f64()
    }
}
