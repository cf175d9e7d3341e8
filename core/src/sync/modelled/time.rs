//! The host's clock, which a model moves.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::token::Token;
use shuttle::sync::atomic::{AtomicU64, Ordering};

struct Time {
    nanos: AtomicU64,
    /// Who sleeps until when. No schedule switches threads while it is locked.
    sleepers: Mutex<Vec<(u64, Arc<Token>)>>,
}

shuttle::lazy_static! {
    // Some way in, so that a moment before the first one can be expressed.
    static ref TIME: Time = Time { nanos: AtomicU64::new(86_400_000_000_000), sleepers: Mutex::default() };
}

/// What the clock shows.
pub(crate) fn nanos() -> u64 {
    TIME.nanos.load(Ordering::SeqCst)
}

/// Moves the clock on, and wakes those whose time has come.
pub fn advance(by: Duration) {
    let by = u64::try_from(by.as_nanos()).expect("a model moves the clock by less than 500 years");
    let now = TIME.nanos.fetch_add(by, Ordering::SeqCst) + by;
    let mut sleepers = TIME.sleepers.lock().unwrap_or_else(PoisonError::into_inner);
    let due: Vec<_> = sleepers.extract_if(.., |(until, _)| *until <= now).collect();
    drop(sleepers);
    due.into_iter().for_each(|(_, token)| token.wake());
}

/// Sleeps until woken, or for a time.
pub(super) fn sleep(token: &Arc<Token>, time: Duration) {
    let time = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    let now = nanos();
    // Nobody moves the clock between here and there: no other thread runs.
    let until = now.saturating_add(time);
    if until <= now {
        return;
    }
    TIME.sleepers.lock().unwrap_or_else(PoisonError::into_inner).push((until, token.clone()));
    token.sleep();
    let mut sleepers = TIME.sleepers.lock().unwrap_or_else(PoisonError::into_inner);
    sleepers.retain(|(_, other)| !Arc::ptr_eq(other, token));
}
