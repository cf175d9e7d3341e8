//! The words for what happens, the same in events and metrics.

use crate::{Cause, Error, Kind};

/// What an acquisition came to that ended with an error.
pub(super) fn outcome(error: &Error) -> &'static str {
    match error.kind() {
        Kind::Contended => "contended",
        Kind::TimedOut => "timed_out",
        Kind::Unavailable => "unavailable",
        Kind::Quarantined => "quarantined",
        _ => "refused",
    }
}

pub(super) fn word(cause: Cause) -> &'static str {
    match cause {
        Cause::Expired => "expired",
        Cause::Superseded => "superseded",
        Cause::Forced => "forced",
        Cause::Released => "released",
    }
}
