//! What went wrong, as a line on the standard error and an exit status.

use std::error::Error as _;
use std::process::ExitCode;

use tenure::{Error, Kind};

use crate::show::plain;

/// The arguments make no sense; `EX_USAGE` of `sysexits.h`.
pub(crate) const USAGE: u8 = 64;
/// The store does not answer, or grants nothing for now; `EX_UNAVAILABLE`.
pub(crate) const UNAVAILABLE: u8 = 69;
/// The system refused something, such as another process; `EX_OSERR`.
pub(crate) const SYSTEM: u8 = 71;
/// The standard output cannot be written; `EX_IOERR`.
pub(crate) const OUTPUT: u8 = 74;
/// Somebody else holds the lock; `EX_TEMPFAIL`.
pub(crate) const BUSY: u8 = 75;
/// The lock was lost while the command ran.
pub(crate) const LOST: u8 = 76;
/// A setting, a URL or a folder that cannot work; `EX_CONFIG`.
pub(crate) const CONFIG: u8 = 78;
/// The command cannot be run, and it cannot be found; as in `sh`.
pub(crate) const CANNOT_RUN: u8 = 126;
pub(crate) const NOT_FOUND: u8 = 127;

/// Why there is no better status.
#[derive(Debug)]
pub(crate) struct Failure {
    status: u8,
    text: Option<String>,
}

impl Failure {
    pub(crate) fn new(status: u8, text: impl Into<String>) -> Self {
        Self { status, text: Some(text.into()) }
    }

    /// A status that says enough.
    pub(crate) fn silent(status: u8) -> Self {
        Self { status, text: None }
    }

    /// Something that the system refused.
    pub(crate) fn system(what: &str, source: impl std::fmt::Display) -> Self {
        Self::new(SYSTEM, format!("{what}: {source}"))
    }

    /// Prints it; the status is what is left to return.
    pub(crate) fn print(self) -> ExitCode {
        if let Some(text) = self.text {
            warn(&text);
        }
        ExitCode::from(self.status)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let status = match error.kind() {
            Kind::Contended | Kind::TimedOut => BUSY,
            Kind::Lost => LOST,
            Kind::InvalidName => USAGE,
            Kind::Misconfigured | Kind::NoDefault => CONFIG,
            _ => UNAVAILABLE,
        };
        Self::new(status, chain(&error))
    }
}

/// An error with all that caused it.
pub(crate) fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// One line to the user; more if the text has more.
#[expect(clippy::print_stderr, reason = "a command speaks to its user")]
pub(crate) fn warn(text: &str) {
    let lines: Vec<_> = text.lines().map(plain).collect();
    eprintln!("tenure: {}", lines.join("\n"));
}
