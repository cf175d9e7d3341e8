//! The one error of all crates.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use crate::{Denied, Fence};

/// The result of everything that can go wrong here.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, with the store's label and the lock's name where they are known.
///
/// An error never carries a lock, a guard or a backend, so `?` works into `anyhow::Error` and
/// `Box<dyn Error + Send + Sync>`.
pub struct Error(Box<Inner>);

struct Inner {
    kind: Kind,
    message: Box<str>,
    backend: Option<Box<str>>,
    lock: Option<Box<str>>,
    note: Option<Box<str>>,
    source: Option<Box<dyn StdError + Send + Sync>>,
    cause: Option<Cause>,
    retry_after: Option<Duration>,
    holder: Option<Fence>,
    settled: bool,
    /// Whether the store did answer, only too late.
    too_late: bool,
}

/// The kinds of [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// Somebody holds the lock, and the call was not one that waits.
    Contended,
    /// The lock was not free within the time that the caller gave.
    TimedOut,
    /// The lock was held and is no more.
    Lost,
    /// The store did not answer, or answered that it cannot serve now.
    Unavailable,
    /// The store may have forgotten who holds what, and grants nothing until that is outlived.
    Quarantined,
    /// A setting, a URL or an option that cannot work.
    Misconfigured,
    /// A name that no lock can have.
    InvalidName,
    /// The process-wide default was used before it was installed.
    NoDefault,
}

/// Why a lock that was held is no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Cause {
    /// Its lifetime passed without a renewal that the store confirmed.
    Expired,
    /// The store says that it is not this claim's any more: it ended, and somebody else may hold it.
    Superseded,
    /// An operator released it by force.
    Forced,
    /// This process released it, through [`release_all`](crate::release_all) or another handle.
    Released,
}

impl Error {
    /// An error of a kind, for those who write a backend; `message` follows the house rules: lower
    /// case, no full stop, says what to do where something can be done.
    #[must_use]
    pub fn new(kind: Kind, message: impl Into<Box<str>>) -> Self {
        Self(Box::new(Inner {
            kind,
            message: message.into(),
            backend: None,
            lock: None,
            note: None,
            source: None,
            cause: None,
            retry_after: None,
            holder: None,
            settled: kind != Kind::Unavailable,
            too_late: false,
        }))
    }

    /// The store did not answer or cannot serve. See [`Error::settled`] if nothing was sent.
    #[must_use]
    pub fn unavailable(message: impl Into<Box<str>>) -> Self {
        Self::new(Kind::Unavailable, message)
    }

    /// A lock that this claim held is lost.
    #[must_use]
    pub fn lost(cause: Cause) -> Self {
        let message = match cause {
            Cause::Expired => "the lock is lost: its lease ended before it was renewed",
            Cause::Superseded => "the lock is lost: the store no longer has it for this owner",
            Cause::Forced => "the lock is lost: an operator released it by force",
            Cause::Released => "the lock is lost: this process released it elsewhere",
        };
        let mut error = Self::new(Kind::Lost, message);
        error.0.cause = Some(cause);
        error
    }

    /// Nothing is granted for `wait`, because grants from before may still be believed.
    #[must_use]
    pub fn quarantined(wait: Duration, message: impl Into<Box<str>>) -> Self {
        let mut error = Self::new(Kind::Quarantined, message);
        error.0.retry_after = Some(wait);
        error
    }

    /// A setting or an option that cannot work.
    #[must_use]
    pub fn misconfigured(message: impl Into<Box<str>>) -> Self {
        Self::new(Kind::Misconfigured, message)
    }

    /// A name that no lock can have.
    #[must_use]
    pub fn invalid_name(message: impl Into<Box<str>>) -> Self {
        Self::new(Kind::InvalidName, message)
    }

    pub(crate) fn contended(denied: Denied) -> Self {
        Self::new(Kind::Contended, "somebody holds the lock").with_denied(denied)
    }

    /// An answer that came when its lease had run out already. The store may still have the grant.
    pub(crate) fn granted_too_late() -> Self {
        let late = "the store answered after the lease had already run out; use a longer ttl";
        let mut error = Self::unavailable(late);
        error.0.too_late = true;
        error
    }

    /// Whether it is of such an answer: no silence, and nobody's trouble but this claim's.
    pub(crate) fn is_too_late(&self) -> bool {
        self.0.too_late
    }

    pub(crate) fn with_denied(mut self, denied: Denied) -> Self {
        self.0.retry_after = denied.retry_after;
        self.0.holder = denied.holder;
        self
    }

    /// Says where it happened, and who stands in the way, as another error does.
    pub(crate) fn about(mut self, other: &Self) -> Self {
        let Inner { backend, lock, retry_after, holder, .. } = &*other.0;
        (self.0.backend, self.0.lock) = (backend.clone(), lock.clone());
        (self.0.retry_after, self.0.holder) = (*retry_after, *holder);
        self
    }

    /// Adds what caused it.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Says that the request certainly had no effect, so that there is nothing to clean up: the
    /// connection was refused, the file could not be opened. Without it an `Unavailable` request
    /// counts as one that may have been carried out.
    #[must_use]
    pub fn settled(mut self) -> Self {
        self.0.settled = true;
        self
    }

    pub(crate) fn with_note(mut self, note: impl Into<Box<str>>) -> Self {
        self.0.note = Some(note.into());
        self
    }

    /// Adds the store's label, unless there is one.
    #[must_use]
    pub fn at(mut self, backend: &str) -> Self {
        self.0.backend.get_or_insert_with(|| backend.into());
        self
    }

    /// Adds the lock's name, unless there is one.
    #[must_use]
    pub fn on(mut self, lock: &str) -> Self {
        self.0.lock.get_or_insert_with(|| shorten(lock).into());
        self
    }

    /// The kind.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// Why the lock was lost, if the kind is [`Kind::Lost`].
    #[must_use]
    pub fn cause(&self) -> Option<Cause> {
        self.0.cause
    }

    /// How long the lock stays taken if nobody renews it, where the store said so.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// The fence of the grant that stands in the way, where the store said so.
    #[must_use]
    pub fn holder(&self) -> Option<Fence> {
        self.0.holder
    }

    /// Whether it is certain what became of the request at the store.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.0.settled
    }

    /// The label of the store, a URL without its password.
    #[must_use]
    pub fn backend(&self) -> Option<&str> {
        self.0.backend.as_deref()
    }

    /// The name of the lock, cut after 200 characters.
    #[must_use]
    pub fn lock(&self) -> Option<&str> {
        self.0.lock.as_deref()
    }
}

macro_rules! predicates {
    ($($(#[$doc:meta])* $method:ident $kind:ident;)*) => {
        impl Error {
            $($(#[$doc])* #[must_use] pub fn $method(&self) -> bool { self.0.kind == Kind::$kind })*
        }
    };
}

predicates! {
    /// Whether somebody else holds the lock.
    is_contended Contended;
    /// Whether the caller's time was over first.
    is_timed_out TimedOut;
    /// Whether the lock was held and is lost.
    is_lost Lost;
    /// Whether the store did not answer.
    is_unavailable Unavailable;
    /// Whether the store grants nothing for now because it may have forgotten grants.
    is_quarantined Quarantined;
    /// Whether a setting, a URL or an option cannot work.
    is_misconfigured Misconfigured;
    /// Whether no lock can have this name.
    is_invalid_name InvalidName;
    /// Whether no process-wide default is installed.
    is_no_default NoDefault;
}

/// A name as people get to see it, cut after 200 characters.
pub(crate) fn shorten(lock: &str) -> Cow<'_, str> {
    match lock.char_indices().nth(200) {
        None => lock.into(),
        Some((end, _)) => format!("{}..", &lock[..end]).into(),
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { backend, lock, message, note, .. } = &*self.0;
        if let Some(backend) = backend {
            write!(f, "{backend}: ")?;
        }
        if let Some(lock) = lock {
            write!(f, "lock {lock:?}: ")?;
        }
        f.write_str(message)?;
        match note {
            Some(note) => write!(f, "; {note}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("message", &format_args!("{self}"))
            .field("source", &self.0.source)
            .finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_names_store_and_lock_once() {
        let error = Error::contended(Denied::new()).at("mem:").on("a\nb").at("other").on("other");
        assert_eq!(error.to_string(), r#"mem:: lock "a\nb": somebody holds the lock"#);
        assert!(error.is_contended() && !error.is_lost() && error.is_settled());
    }

    #[test]
    fn long_names_are_cut_in_messages() {
        let error = Error::lost(Cause::Forced).on(&"\u{e9}".repeat(70_000));
        assert!(error.to_string().len() < 1000);
        assert_eq!(error.cause(), Some(Cause::Forced));
    }

    #[test]
    fn an_unavailable_request_may_have_had_an_effect_unless_it_says_not() {
        assert!(!Error::unavailable("reply never came").is_settled());
        assert!(Error::unavailable("connection refused").settled().is_settled());
    }
}
