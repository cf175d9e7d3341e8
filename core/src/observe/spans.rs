//! What is told to `tracing`.

use std::future::Future;

use tracing::field::{Empty, display};
use tracing::{Instrument, Level};

use super::Event;
use super::words::{outcome, word};
use crate::error::shorten;
use crate::{Breaking, Claim, Error, Fence, Holder, Kind, Site};

/// The span of an acquisition.
#[derive(Clone)]
pub(super) struct Span(tracing::Span);

impl Span {
    pub(super) fn acquire(site: &Site, claim: &Claim) -> Self {
        Self(tracing::debug_span!(
            target: "tenure",
            "acquire",
            store = site.label(),
            lock = &*shorten(claim.name()),
            place = display(claim.place()),
            outcome = Empty,
            fence = Empty
        ))
    }

    pub(super) fn in_scope<T>(&self, work: impl FnOnce() -> T) -> T {
        self.0.in_scope(work)
    }

    /// Enters the span whenever the future is polled, and when it is dropped.
    pub(super) fn instrument<F: Future>(self, future: F) -> impl Future<Output = F::Output> {
        future.instrument(self.0)
    }

    pub(super) fn granted(&self, fence: Fence) {
        self.0.record("outcome", "granted");
        self.0.record("fence", fence.get());
    }

    pub(super) fn refused(&self, error: &Error) {
        self.0.record("outcome", outcome(error));
    }

    pub(super) fn abandoned(&self) {
        self.0.record("outcome", "abandoned");
    }
}

pub(super) fn tell(site: &Site, claim: &Claim, event: &Event<'_>) {
    macro_rules! told {
        ($level:ident, $message:literal $(, $field:ident = $value:expr)*) => {
            tracing::event!(
                target: "tenure",
                Level::$level,
                store = site.label(),
                lock = &*shorten(claim.name()),
                $($field = $value,)*
                $message
            )
        };
    }
    let waited = || claim.tally().waited(site).as_secs_f64();
    let attempts = || claim.tally().attempts();
    match *event {
        Event::Granted { fence } => {
            told!(DEBUG, "lock granted", fence = fence.get(), waited = waited(), attempts = attempts());
        }
        Event::Refused { error } => match error.kind() {
            // Told when they began.
            Kind::Contended | Kind::Quarantined => {}
            Kind::TimedOut => told!(DEBUG, "lock timed out", waited = waited(), attempts = attempts()),
            Kind::Unavailable => {
                let error = display(error);
                told!(INFO, "lock unavailable", waited = waited(), attempts = attempts(), error = error);
            }
            _ => told!(DEBUG, "lock refused", error = display(error)),
        },
        Event::Abandoned => {
            told!(DEBUG, "acquisition abandoned", waited = waited(), attempts = attempts());
        }
        Event::Contended(denied) => {
            let (holder, remaining) = (denied.holder.map(Fence::get), denied.retry_after);
            let remaining = remaining.map(|left| left.as_secs_f64());
            told!(DEBUG, "lock contended", holder = holder, remaining = remaining);
        }
        Event::Quarantined { remaining } => {
            let remaining = remaining.map(|left| left.as_secs_f64());
            told!(INFO, "lock quarantined", remaining = remaining);
        }
        Event::Unanswered { error } => told!(DEBUG, "attempt unanswered", error = display(error)),
        Event::WaitsForItself { held_at } => told!(
            WARN,
            "waiting for a lock that this very process holds",
            held_at = display(held_at),
            waiting_at = display(claim.place())
        ),
        Event::Renewal { fence, remaining, answer } => {
            let (fence, remaining) = (fence.get(), remaining.map(|left| left.as_secs_f64()));
            match answer {
                Ok(()) => told!(TRACE, "lock renewed", fence = fence, remaining = remaining),
                // Told as a loss.
                Err(error) if error.is_lost() => {}
                Err(error) => {
                    let error = display(error);
                    told!(WARN, "renewal unanswered", fence = fence, remaining = remaining, error = error);
                }
            }
        }
        Event::Lost { fence, held, cause } => {
            let (fence, held) = (fence.get(), held.as_secs_f64());
            told!(WARN, "lock lost", fence = fence, held = held, cause = word(cause));
        }
        Event::Release { fence, held, answer } => {
            let (fence, held) = (fence.get(), held.as_secs_f64());
            match answer {
                Ok(()) => told!(DEBUG, "lock released", fence = fence, held = held),
                // Told as a loss.
                Err(error) if error.is_lost() => {}
                Err(error) => {
                    told!(WARN, "release unanswered", fence = fence, held = held, error = display(error));
                }
            }
        }
        Event::Left { fence, held } => {
            told!(DEBUG, "lock left", fence = fence.get(), held = held.as_secs_f64());
        }
    }
}

pub(super) fn force_released(site: &Site, holder: &Holder, breaking: Breaking, reason: &str) {
    tracing::warn!(
        target: "tenure",
        store = site.label(),
        lock = &*shorten(holder.name().as_str()),
        fence = holder.fence().get(),
        breaking = match breaking {
            Breaking::Safe => "safe",
            Breaking::Now => "now",
        },
        reason,
        "lock force-released"
    );
}
