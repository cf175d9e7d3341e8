//! Why a case failed.

use std::fmt;
use std::panic::Location;

use tenure_core::Cause;

/// What a case returns.
pub(crate) type Outcome<T = ()> = Result<T, Failure>;

/// Why a case failed: what was expected, what was seen, and where in the suite.
#[derive(Debug)]
pub(crate) struct Failure {
    message: String,
    late: bool,
    place: &'static Location<'static>,
}

impl Failure {
    #[track_caller]
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), late: false, place: Location::caller() }
    }

    /// A failure by an error that should not have been.
    #[track_caller]
    pub(crate) fn unexpected(what: &str, error: &tenure_core::Error) -> Self {
        // Core alone says `Expired`, by the holder's clock; that a grant came after its lease has no kind
        // of its own.
        let expired = error.cause() == Some(Cause::Expired);
        let late = expired || error.is_unavailable() && error.to_string().contains("already run out");
        Self { late, ..Self::new(format!("{what}, saw {error:?}")) }
    }

    /// A failure that says nothing about the store, because a lease ended before its time had come in
    /// the case.
    #[track_caller]
    pub(crate) fn late(message: impl Into<String>) -> Self {
        Self { late: true, ..Self::new(message) }
    }

    /// The same failure, which says nothing about the store if this is true.
    pub(crate) fn late_if(self, late: bool) -> Self {
        Self { late: self.late || late, ..self }
    }

    /// Whether the machine was too slow for so short a lease, which says nothing about the store.
    pub(crate) fn is_late(&self) -> bool {
        self.late
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (at {})", self.message, self.place)
    }
}

impl From<tenure_core::Error> for Failure {
    #[track_caller]
    fn from(error: tenure_core::Error) -> Self {
        Self::unexpected("expected success", &error)
    }
}

impl From<std::io::Error> for Failure {
    #[track_caller]
    fn from(error: std::io::Error) -> Self {
        Self::new(format!("the suite itself could not go on: {error}"))
    }
}

impl From<serde_json::Error> for Failure {
    #[track_caller]
    fn from(error: serde_json::Error) -> Self {
        Self::new(format!("an agent said what is no answer: {error}"))
    }
}

/// Ends the case unless the condition holds; the rest says what was expected and what was seen.
macro_rules! check {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            return Err($crate::failure::Failure::new(format!($($message)+)));
        }
    };
}
pub(crate) use check;
