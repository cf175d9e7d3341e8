//! What went wrong at a database, and what is to be done about it.

use diesel::result::{DatabaseErrorKind, Error as DieselError};
use tenure_core::{Error, Kind};

/// What is to be done about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Remedy {
    /// Others were in the way; it had no effect, and can be repeated at once.
    Repeat,
    /// The connection is closed: it may have had an effect, and can be repeated on another one.
    Reconnect,
    /// Nothing.
    None,
}

/// What is to be done about a failure. Everything that is asked can be asked twice, since the token tells.
pub(crate) fn remedy(error: &DieselError) -> Remedy {
    let DieselError::DatabaseError(kind, information) = error else { return Remedy::None };
    match kind {
        DatabaseErrorKind::ClosedConnection | DatabaseErrorKind::UnableToSendCommand => Remedy::Reconnect,
        DatabaseErrorKind::SerializationFailure | DatabaseErrorKind::UniqueViolation => Remedy::Repeat,
        DatabaseErrorKind::Unknown => said(information.message()),
        _ => Remedy::None,
    }
}

/// The crate tells few errors apart by their codes; the rest are known by their words, in the language that
/// our connections ask for.
fn said(message: &str) -> Remedy {
    const IN_THE_WAY: [&str; 9] = [
        "database is locked",
        "database table is locked",
        "database schema is locked",
        "deadlock detected",
        "Deadlock found",
        "could not serialize access",
        "Record has changed since last read",
        "tuple concurrently updated",
        "cached plan must not change result type",
    ];
    const CLOSED: [&str; 16] = [
        "server has gone away",
        "Server has gone away",
        "Lost connection to",
        "Connection was killed",
        "Server shutdown in progress",
        "server closed the connection",
        "terminating connection",
        "connection not open",
        "no connection to the server",
        "could not receive data from server",
        "could not send data to server",
        "SSL connection has been closed",
        "the database system is",
        "Input/output error",
        "Connection to the server is closed",
        "connection closed",
    ];
    let is_one_of = |words: &[&str]| words.iter().any(|words| message.contains(words));
    if is_one_of(&IN_THE_WAY) {
        Remedy::Repeat
    } else if is_one_of(&CLOSED) {
        Remedy::Reconnect
    } else {
        Remedy::None
    }
}

/// The failure as the caller gets it.
pub(crate) fn error(error: &DieselError) -> Error {
    let text = error.to_string();
    let says = |words: &[&str]| words.iter().any(|words| text.contains(words));
    let (kind, message) = if remedy(error) == Remedy::Reconnect {
        (Kind::Unavailable, "the database closed the connection before it answered")
    } else if says(&["no such table", "doesn't exist", "does not exist"]) {
        (
            Kind::Misconfigured,
            "the table of locks is not there; call migrate(), or run the statements of schema_sql()",
        )
    } else if says(&["readonly database", "unable to open database file"]) {
        (
            Kind::Unavailable,
            "the file cannot be written to; give this user the right to write to it and to its folder, where SQLite \
             keeps files beside it",
        )
    } else if says(&["read-only", "READ ONLY"]) {
        (
            Kind::Unavailable,
            "the database is read-only; name the primary, or give this user the right to write",
        )
    } else if says(&["permission denied", "denied to user", "denied for user"]) {
        (
            Kind::Misconfigured,
            "the user may not do what locks need; grant SELECT, INSERT, UPDATE and DELETE on the table and on \
             those beside it",
        )
    } else if says(&["disk is full", "No space left", "is full"]) {
        (Kind::Unavailable, "the database's disk is full")
    } else if says(&["lock timeout", "Lock wait timeout", "database is locked", "lock_timeout"]) {
        (
            Kind::Unavailable,
            "another transaction has had the lock's row, or the table, for too long; see who holds it open",
        )
    } else if says(&["statement timeout", "max_statement_time", "maximum statement execution time"]) {
        (Kind::Unavailable, "the database did not answer in time")
    } else if says(&["not a database", "malformed"]) {
        (Kind::Misconfigured, "the file is not a whole SQLite database")
    } else {
        (Kind::Unavailable, "the database refused")
    };
    let error = Error::new(kind, message).with_source(text);
    // A statement that failed is undone as a whole; only of one that was cut off nobody knows.
    if message.contains("before it answered") { error } else { error.settled() }
}
