//! When to ask, when to renew, when to give up: functions of `now`, without clock, randomness or
//! I/O, so that they can be tested without waiting.

mod acquire;
mod budget;
mod course;
mod renew;

pub(crate) use acquire::{Acquire, Step};
pub(crate) use budget::Budget;
pub(crate) use course::{Course, Next, Then, Waits};
pub(crate) use renew::{first_renewal, retry_renewal};

use std::time::Duration;

use crate::sync::random;

/// A random fraction in `0.0..1.0`, drawn by the caller.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Jitter(f64);

impl Jitter {
    pub(crate) fn random() -> Self {
        Self(random())
    }

    #[cfg(test)]
    pub(crate) fn fixed(fraction: f64) -> Self {
        Self(fraction)
    }

    /// Between `span * from` and `span * to`.
    fn scale(self, span: Duration, from: f64, to: f64) -> Duration {
        // Spans are bounded by the settings, an hour at most, so the product is finite and small.
        span.min(Duration::from_secs(30 * 24 * 3600)).mul_f64(from + (to - from) * self.0)
    }
}
