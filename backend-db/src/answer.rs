//! What the database answers, and what that means.

use std::time::{Duration, UNIX_EPOCH};

use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Binary, Nullable, Text};
use tenure_core::{Attempt, Cause, Claim, Denied, Error, Fence, Granted, Holder, Lease, Mode, Name, Result};

/// The answer to a statement about one lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, QueryableByName)]
pub(crate) struct Answer {
    /// See the constants.
    #[diesel(sql_type = BigInt)]
    pub(crate) code: i64,
    /// The fence of the lock.
    #[diesel(sql_type = BigInt)]
    pub(crate) fence: i64,
    /// For how long it stays taken, in microseconds.
    #[diesel(sql_type = BigInt)]
    pub(crate) remaining: i64,
    /// For how long it is known that somebody waits, in microseconds; not above zero if nobody does.
    #[diesel(sql_type = BigInt)]
    pub(crate) awaited: i64,
}

impl Answer {
    /// It is done.
    pub(crate) const DONE: i64 = 1;
    /// Somebody else has it.
    pub(crate) const OTHERS: i64 = 0;
    /// It was taken away by force.
    pub(crate) const FORCED: i64 = -1;
    /// The lease had ended.
    pub(crate) const EXPIRED: i64 = -2;
    /// All locks are closed for `remaining`.
    pub(crate) const CLOSED: i64 = -3;
    /// The key of another lock has the same short form.
    pub(crate) const COLLIDES: i64 = -4;

    /// The answer of a statement that answers by how many rows it changed.
    pub(crate) const COUNTED: Self = Self { code: Self::DONE, fence: 0, remaining: 0, awaited: 0 };

    /// Says that somebody has it, and not until when: it was given to him while this was looked at.
    pub(crate) fn is_stale(&self) -> bool {
        self.code == Self::OTHERS && self.remaining <= 0
    }
}

/// The answer to an acquire; nothing if others were faster again and again.
pub(crate) fn attempt(claim: &Claim, answer: Option<Answer>) -> Result<Attempt<()>> {
    let Some(answer) = answer else { return Ok(Attempt::Denied(Denied::new())) };
    let fence = u64::try_from(answer.fence).map(Fence::new).map_err(|_| odd(&answer))?;
    match answer.code {
        Answer::DONE => {
            let lease = claim.term().ttl().map_or(Lease::Session, |ttl| Lease::For(ttl.get()));
            Ok(Attempt::Granted(Granted::new((), fence, lease)))
        }
        Answer::CLOSED => Err(Error::quarantined(
            micros(answer.remaining),
            "the database was started anew, and leases from before may still be believed in; wait for the \
             longest of them, max_ttl, to end",
        )
        .settled()),
        Answer::COLLIDES => {
            Err(Error::invalid_name("another long name has the same SHA-256; choose another name"))
        }
        Answer::OTHERS => {
            let denied = if fence == Fence::ZERO { Denied::new() } else { Denied::new().holder(fence) };
            // In the last of these microseconds it is still held.
            let left = Some(answer.remaining).filter(|left| *left > 0).map(|left| micros(left + 1));
            Ok(Attempt::Denied(left.map_or(denied, |left| denied.retry_after(left))))
        }
        _ => Err(odd(&answer)),
    }
}

/// The answer to the question whether a short form is of a long key.
///
/// # Errors
///
/// `InvalidName` if it is of another one.
pub(crate) fn known(answer: Option<Answer>) -> Result<()> {
    match answer {
        Some(Answer { code: Answer::COLLIDES, .. }) => Err(Error::invalid_name(
            "another long name has the same short form in the table; choose another name",
        )),
        _ => Ok(()),
    }
}

/// Whether who waits has yet to say so, or again: others hold the lock, and those who look at it may be told
/// of nobody before he looks next.
pub(crate) fn wants_mark(answer: Option<Answer>, recheck: Duration) -> bool {
    let is_denied = answer.is_none_or(|answer| answer.code == Answer::OTHERS);
    let awaited = answer.map_or(Duration::ZERO, |answer| micros(answer.awaited));
    is_denied && awaited <= recheck + recheck / 2
}

/// The answer to a renewal or a release; nothing if the lock is not even known. `resent` says that an
/// earlier statement with the same token may have been carried out, so that "not yours" may mean that it was.
pub(crate) fn verdict(answer: Option<Answer>, resent: bool) -> Result<()> {
    match answer.map(|answer| answer.code) {
        Some(Answer::DONE) => Ok(()),
        Some(Answer::FORCED) => Err(Error::lost(Cause::Forced)),
        Some(Answer::OTHERS) | None if resent => Ok(()),
        Some(Answer::EXPIRED) => Err(Error::lost(Cause::Expired)),
        _ => Err(Error::lost(Cause::Superseded)),
    }
}

/// The answer to a restore.
pub(crate) fn restored(claim: &Claim, answer: Option<Answer>) -> Result<Granted<()>> {
    verdict(answer, false)?;
    match attempt(claim, answer)? {
        Attempt::Granted(granted) => Ok(granted),
        Attempt::Denied(_) => Err(Error::lost(Cause::Superseded)),
    }
}

/// A lock as it is seen from outside.
#[derive(Clone, Debug, QueryableByName)]
pub(crate) struct Seen {
    #[diesel(sql_type = Binary)]
    pub(crate) name: Vec<u8>,
    #[diesel(sql_type = Nullable<Binary>)]
    pub(crate) whole: Option<Vec<u8>>,
    #[diesel(sql_type = Binary)]
    pub(crate) token: Vec<u8>,
    #[diesel(sql_type = BigInt)]
    pub(crate) fence: i64,
    #[diesel(sql_type = BigInt)]
    pub(crate) remaining: i64,
    #[diesel(sql_type = BigInt)]
    pub(crate) granted: i64,
    #[diesel(sql_type = Binary)]
    pub(crate) label: Vec<u8>,
    #[diesel(sql_type = BigInt)]
    pub(crate) state: i64,
    #[diesel(sql_type = Binary)]
    pub(crate) reason: Vec<u8>,
}

impl Seen {
    /// The whole key.
    pub(crate) fn key(&self) -> Option<&str> {
        std::str::from_utf8(self.whole.as_deref().unwrap_or(&self.name)).ok()
    }

    /// Whether others may have it too.
    pub(crate) fn is_share(&self) -> bool {
        self.state > CLOSED
    }

    pub(crate) fn holder(&self, name: Name) -> Holder {
        let fence = Fence::new(u64::try_from(self.fence).unwrap_or_default());
        let since = UNIX_EPOCH.checked_add(micros(self.granted)).unwrap_or(UNIX_EPOCH);
        let holder = Holder::new(name, fence, Some(micros(self.remaining)))
            .with_label(String::from_utf8_lossy(&self.label))
            .with_since(since);
        let holder = match self.state {
            0 | CLOSED => holder,
            state if state % 2 == 0 => holder.with_mode(Mode::Shared),
            // How many there are is not known to the table.
            _ => holder.with_mode(Mode::Permit { limit: 0 }),
        };
        match self.state {
            CLOSED | 4 | 5 => holder.with_breaking(String::from_utf8_lossy(&self.reason)),
            _ => holder,
        }
    }
}

/// A text, as the answer to a question about the database itself.
#[derive(Clone, Debug, QueryableByName)]
pub(crate) struct Word {
    #[diesel(sql_type = Nullable<Text>)]
    pub(crate) word: Option<String>,
}

/// The state of a lock that was taken away and whose loser has not let go.
pub(crate) const CLOSED: i64 = 1;

pub(crate) fn micros(micros: i64) -> Duration {
    Duration::from_micros(u64::try_from(micros).unwrap_or_default())
}

fn odd(answer: &Answer) -> Error {
    Error::unavailable(format!("the database answered {answer:?}, which no statement of ours does"))
}
