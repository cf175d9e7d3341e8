//! What is said to a server that keeps waiters in a queue. No I/O.
//!
//! Each process has one place in the queue of a lock, that of the first in its own line. Whoever
//! releases the lock hands it on in the same step: the server makes the first in the queue its owner,
//! and tells that one's process. See [`Places`](crate::places::Places) for what it makes of that.

use std::sync::LazyLock;
use std::time::Duration;

use tenure_core::{Claim, Mode, Owner, Term};

use crate::keys::{Keys, MARK, Sibling};
use crate::resp::Reply;
use crate::script::{Call, How, Script, kind, limit, millis, scripts};

scripts! {
    ACQUIRE "lua/fair/open.lua" "lua/fair/queue.lua" "lua/fair/acquire.lua";
    RENEW "lua/fair/open.lua" "lua/fair/queue.lua" "lua/fair/renew.lua";
    RELEASE "lua/fair/open.lua" "lua/fair/queue.lua" "lua/fair/release.lua";
    INSPECT "lua/fair/open.lua" "lua/fair/queue.lua" "lua/fair/inspect_begin.lua" "lua/inspect.lua"
        "lua/fair/inspect_end.lua";
    GUARDED_ACQUIRE "lua/guard.lua" "lua/guard_begin.lua" "lua/fair/queue.lua" "lua/fair/acquire.lua"
        "lua/guard_end.lua";
    GUARDED_RENEW "lua/guard.lua" "lua/fair/queue.lua" "lua/fair/renew.lua";
    GUARDED_RELEASE "lua/guard.lua" "lua/fair/queue.lua" "lua/fair/release.lua";
    GUARDED_INSPECT "lua/guard.lua" "lua/fair/queue.lua" "lua/fair/inspect_begin.lua" "lua/inspect.lua"
        "lua/fair/inspect_end.lua";
}

/// The queues of a store's locks.
#[derive(Clone, Debug)]
pub(crate) struct Queue {
    /// For how long a place is kept without a sign of life.
    slot: Duration,
    /// A name for this store in this program.
    station: Owner,
}

impl Queue {
    /// Queues whose waiters show signs of life at least every `recheck`.
    pub(crate) fn new(recheck: Duration) -> Self {
        Self { slot: recheck * 3, station: Owner::random() }
    }

    /// How often a waiter has to ask again.
    pub(crate) fn recheck(&self) -> Duration {
        self.slot / 3
    }

    /// Where this process is told what was handed to it; a forked child is told elsewhere.
    pub(crate) fn channel(&self) -> String {
        format!("{MARK}g:{}:{}", self.station, std::process::id())
    }

    pub(crate) fn acquire(&self, claim: &Claim, keys: &Keys, how: How, mut arguments: Vec<Vec<u8>>) -> Call {
        let slot = if how == How::Wait { millis(self.slot) } else { b"0".to_vec() };
        arguments.extend([
            letter(claim.mode()),
            limit(claim.mode()).to_string().into_bytes(),
            how.restores(),
            slot,
            millis(life(claim)),
            self.channel().into_bytes(),
        ]);
        Call::new(&ACQUIRE, all(keys), arguments)
    }

    pub(crate) fn renew(&self, claim: &Claim, keys: &Keys, mut arguments: Vec<Vec<u8>>) -> Call {
        arguments.push(letter(claim.mode()));
        Call::new(&RENEW, all(keys), arguments)
    }

    pub(crate) fn release(&self, claim: &Claim, keys: &Keys, mut arguments: Vec<Vec<u8>>) -> Call {
        arguments.push(letter(claim.mode()));
        Call::new(&RELEASE, all(keys), arguments)
    }

    pub(crate) fn force(&self, keys: &Keys, arguments: Vec<Vec<u8>>) -> Call {
        Call::new(&INSPECT, all(keys), arguments)
    }
}

/// The lease of a grant that is handed on. What core renews begins with the part of it after which the
/// first renewal is due, so that a waiter that died in the queue does not hold everybody up for long.
pub(crate) fn life(claim: &Claim) -> Duration {
    let ttl = claim.term().ttl().map_or(Duration::ZERO, |ttl| ttl.get());
    match claim.term() {
        Term::Kept(_) => (ttl / 3).max(LEAST).min(ttl),
        _ => ttl,
    }
}

/// Less is not enough for a busy process to hear of a grant and to renew it.
const LEAST: Duration = Duration::from_secs(2);

/// The last fence that the server had given, if its answer to an attempt says that the claim stands in
/// the queue.
pub(crate) fn queued(reply: &Reply) -> Option<u64> {
    match reply.list()?.iter().map(Reply::int).collect::<Vec<_>>()[..] {
        [Some(0), _, Some(last), Some(1)] => u64::try_from(last).ok(),
        _ => None,
    }
}

fn letter(mode: Mode) -> Vec<u8> {
    kind(mode).unwrap_or(b"x").to_vec()
}

fn all(keys: &Keys) -> Vec<Vec<u8>> {
    let siblings = [Sibling::Fence, Sibling::Broken, Sibling::Sharers, Sibling::Queue, Sibling::Places];
    let siblings = siblings.map(|sibling| keys.sibling(sibling));
    std::iter::once(keys.own().to_vec()).chain(siblings).collect()
}
