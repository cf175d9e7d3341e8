//! What the macros expand to. Not for people: it changes whenever the macros do.

use std::fmt::{self, Write};
use std::time::Duration;

use tenure_core::{
    AnyBackend, Backend, Error, Handle, IntoName, KeyPart, Kind, Lock, Lockable, Name, Result, Segment,
};

/// The lock as the options want it, of the store of `on = ..`.
pub fn lock<T: Backend<Handle = B>, B: Handle>(
    store: T,
    name: impl IntoName,
    ttl: Option<Duration>,
    label: Option<Box<str>>,
) -> Result<Lock<B>> {
    let lock = ttl.into_iter().fold(Lock::new(store, name), Lock::ttl);
    Ok(label.into_iter().fold(lock, Lock::label))
}

/// The lock as the options want it, without `on = ..`.
pub fn lock_of_default(
    name: impl IntoName,
    ttl: Option<Duration>,
    label: Option<Box<str>>,
) -> Result<Lock<AnyBackend>> {
    lock(tenure_core::default_store()?, name, ttl, label)
}

/// The same for asynchronous code.
pub mod aio {
    use std::time::Duration;

    use tenure_core::aio::{self, AnyBackend, AsyncBackend, AsyncHandle, Lock};
    use tenure_core::{IntoName, Result};

    pub fn lock<T: AsyncBackend<Handle = B>, B: AsyncHandle>(
        store: T,
        name: impl IntoName,
        ttl: Option<Duration>,
        label: Option<Box<str>>,
    ) -> Result<Lock<B>> {
        let lock = ttl.into_iter().fold(Lock::new(store, name), Lock::ttl);
        Ok(label.into_iter().fold(lock, Lock::label))
    }

    pub fn lock_of_default(
        name: impl IntoName,
        ttl: Option<Duration>,
        label: Option<Box<str>>,
    ) -> Result<Lock<AnyBackend>> {
        lock(aio::default_store()?, name, ttl, label)
    }
}

/// A name that is made by an expression.
pub fn made<N: Made>(name: N) -> Result<Name> {
    name.into_name()
}

/// What can be the name of a lock as it is.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the name of a lock",
    label = "neither a text nor a `Name`",
    note = "a name that has this value in it is a text with a placeholder: `#[tenure::lock(\"order:{{id}}\")]`"
)]
pub trait Made: IntoName {}

#[diagnostic::do_not_recommend]
impl<N: IntoName> Made for N {}

/// The model of a record.
#[must_use]
pub fn model<T: Lockable + ?Sized>(_: &T) -> &'static str {
    T::MODEL
}

/// The name of a record's lock under another model name than its own.
pub fn record_name<T: Lockable + ?Sized>(model: &str, record: &T) -> Result<Name> {
    Name::of_record(model, &record.lock_key())
}

/// Makes a part of a name of what shows itself.
#[derive(Debug)]
pub struct Displayed<T>(pub T);

impl<T: fmt::Display> KeyPart for Displayed<T> {
    fn write_part(&self, segment: &mut Segment<'_>) -> fmt::Result {
        write!(segment, "{}", self.0)
    }
}

/// A name that is made of text and of values, which are escaped.
#[derive(Debug, Default)]
pub struct NameText {
    text: String,
    failed: bool,
}

impl NameText {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    pub fn text(&mut self, text: &str) {
        self.text.push_str(text);
    }

    pub fn value<T: Shown + ?Sized>(&mut self, value: &T) {
        self.failed |= value.show(&mut Segment::new(&mut self.text)).is_err();
    }

    pub fn finish(self) -> Result<Name> {
        if self.failed {
            return Err(Error::new(Kind::InvalidName, "a value for the name cannot be shown as text"));
        }
        Name::new(self.text)
    }
}

/// What a placeholder can show: whatever has `Display`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot stand in the name of a lock, because it has no `Display`",
    label = "cannot be shown by `{{..}}`",
    note = "name one of its fields, `{{value.id}}`; or write `{{}}`, and an expression behind the name"
)]
pub trait Shown {
    fn show(&self, segment: &mut Segment<'_>) -> fmt::Result;
}

#[diagnostic::do_not_recommend]
impl<T: fmt::Display + ?Sized> Shown for T {
    fn show(&self, segment: &mut Segment<'_>) -> fmt::Result {
        write!(segment, "{self}")
    }
}

/// What a function under a lock can return.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot carry the error of a lock",
    label = "cannot say that the lock was not got, or was lost",
    note = "return a `Result<_, E>` with `E: From<tenure::Error>`, such as `tenure::Result<_>`, or any that \
            `?` turns a `tenure::Error` into",
    note = "or leave the attribute out, and take the lock inside of the function"
)]
pub trait CarriesLockError: Sized {
    /// The function's answer: the value of its body and how the release went, or why the body was not run.
    fn answer(ran: Result<(Self, Result<()>)>) -> Self;
}

#[diagnostic::do_not_recommend]
impl<T, E: From<Error>> CarriesLockError for std::result::Result<T, E> {
    fn answer(ran: Result<(Self, Result<()>)>) -> Self {
        match ran {
            // Somebody else may have done the same at the same time.
            Ok((Ok(_), Err(error))) if error.is_lost() => Err(E::from(error)),
            // A release without an answer takes nothing away from what was done under the lock.
            Ok((done, _)) => done,
            Err(error) => Err(E::from(error)),
        }
    }
}

/// The function's answer.
pub fn answer<T: CarriesLockError>(ran: Result<(T, Result<()>)>) -> T {
    T::answer(ran)
}

/// Runs a body. A closure that stands here gives back what it captured, such as a borrow of `self`.
pub fn once<T>(body: impl FnOnce() -> T) -> T {
    body()
}

/// What a reloaded record is locked with, or why not.
pub fn reloaded<L, E: TakesLockError>(
    acquired: Result<std::result::Result<L, E>>,
) -> std::result::Result<L, E> {
    acquired.unwrap_or_else(|error| Err(E::from_lock(error)))
}

/// What reloading a record can fail with.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot hold the error of a lock",
    label = "its error does not take a `tenure::Error` in",
    note = "implement `From<tenure::Error>` for `{Self}`, or turn it into an error that has that: \
            `refresh = order.reload(&db).map_err(AppError::from)`"
)]
pub trait TakesLockError {
    fn from_lock(error: Error) -> Self;
}

#[diagnostic::do_not_recommend]
impl<E: From<Error>> TakesLockError for E {
    fn from_lock(error: Error) -> Self {
        Self::from(error)
    }
}
