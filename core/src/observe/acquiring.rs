//! One acquisition as it is seen from outside, from its beginning to its end.

use std::future::Future;

use super::spans::Span;
use super::{Event, contended, quarantined, tell};
use crate::{Claim, Denied, Error, Result, Site};

/// An acquisition under way, which tells what comes of it: once, however it ends.
pub(crate) struct Acquiring {
    site: Site,
    claim: Claim,
    span: Span,
    ended: bool,
}

impl Acquiring {
    pub(crate) fn begin(site: &Site, claim: &Claim) -> Self {
        Self { span: Span::acquire(site, claim), site: site.clone(), claim: claim.clone(), ended: false }
    }

    /// Does what acquires.
    pub(crate) fn run<T>(self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let span = self.span.clone();
        span.in_scope(|| self.end(work()))
    }

    /// Does what acquires in asynchronous code.
    pub(crate) async fn polled<T>(self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let span = self.span.clone();
        span.instrument(async { self.end(work.await) }).await
    }

    fn end<T>(mut self, result: Result<T>) -> Result<T> {
        self.ended = true;
        let fence = self.claim.tally().fence();
        match &result {
            Ok(_) => {
                self.span.granted(fence);
                tell(&self.site, &self.claim, Event::Granted { fence });
            }
            Err(error) => self.refused(error),
        }
        result
    }

    fn refused(&self, error: &Error) {
        let Self { site, claim, span, .. } = self;
        span.refused(error);
        if error.is_contended() {
            contended(
                site,
                claim,
                Denied { retry_after: error.retry_after(), holder: error.holder(), ..Denied::new() },
            );
        }
        if error.is_quarantined() {
            quarantined(site, claim, error);
        }
        tell(site, claim, Event::Refused { error });
    }
}

/// Does what acquires in asynchronous code: `acquiring!(site, claim, { work })`.
macro_rules! acquiring {
    ($site:expr, $claim:expr, { $($work:tt)* }) => {
        $crate::observe::Acquiring::begin($site, $claim).polled(async { $($work)* }).await
    };
}
pub(crate) use acquiring;

impl Drop for Acquiring {
    /// The future was dropped, or the store panicked.
    fn drop(&mut self) {
        if !self.ended {
            self.span.abandoned();
            tell(&self.site, &self.claim, Event::Abandoned);
        }
    }
}
