//! What the macros expand to. Not for people: it changes whenever the macros do.

use std::fmt::{self, Write};
use std::time::Duration;

use tenure_core::{
    AnyBackend, Backend, Error, Handle, IntoName, KeyPart, Kind, Lock, Lockable, Name, Result, Segment,
    Unlocked,
};

/// The store of `on = ..`.
pub fn store<T: Backend>(store: T) -> Result<T::Handle> {
    Ok(store.handle())
}

/// The store without `on = ..`.
pub fn default_store() -> Result<AnyBackend> {
    tenure_core::default_store().cloned()
}

/// The lock as the options want it.
pub fn lock<B: Handle>(
    store: Result<B>,
    name: impl IntoName,
    ttl: Option<Duration>,
    label: Option<Box<str>>,
) -> Result<Lock<B, Unlocked>> {
    let lock = Lock::new(store?, name);
    let lock = ttl.into_iter().fold(lock, Lock::ttl);
    Ok(label.into_iter().fold(lock, Lock::label))
}

/// The same for asynchronous code.
pub mod aio {
    use std::time::Duration;

    use tenure_core::aio::{self, AnyBackend, AsyncBackend, AsyncHandle, Lock};
    use tenure_core::{IntoName, Result, Unlocked};

    pub fn store<T: AsyncBackend>(store: T) -> Result<T::Handle> {
        Ok(store.handle())
    }

    pub fn default_store() -> Result<AnyBackend> {
        aio::default_store().cloned()
    }

    pub fn lock<B: AsyncHandle>(
        store: Result<B>,
        name: impl IntoName,
        ttl: Option<Duration>,
        label: Option<Box<str>>,
    ) -> Result<Lock<B, Unlocked>> {
        let lock = Lock::new(store?, name);
        let lock = ttl.into_iter().fold(lock, Lock::ttl);
        Ok(label.into_iter().fold(lock, Lock::label))
    }
}

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
pub trait CarriesLockError {
    fn failed(error: Error) -> Self;
    fn ended(self, release: Result<()>) -> Self;
}

#[diagnostic::do_not_recommend]
impl<T, E: From<Error>> CarriesLockError for std::result::Result<T, E> {
    fn failed(error: Error) -> Self {
        Err(E::from(error))
    }

    fn ended(self, release: Result<()>) -> Self {
        match (self, release) {
            // Somebody else may have done the same at the same time.
            (Ok(_), Err(error)) if error.is_lost() => Err(E::from(error)),
            // A release without an answer takes nothing away from what was done under the lock.
            (done, _) => done,
        }
    }
}

/// The function's answer if it did not get the lock.
pub fn failed<T: CarriesLockError>(error: Error) -> T {
    T::failed(error)
}

/// The function's answer after the lock was released.
pub fn ended<T: CarriesLockError>(value: T, release: Result<()>) -> T {
    value.ended(release)
}

/// Runs a body. A closure that stands here gives back what it captured, such as a borrow of `self`.
pub fn once<T>(body: impl FnOnce() -> T) -> T {
    body()
}

/// The error of reloading a record.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot hold the error of a lock",
    label = "the error of `refresh` does not take a `tenure::Error` in",
    note = "implement `From<tenure::Error>` for it, or turn it into an error that does: \
            `refresh = order.reload(&db).map_err(AppError::from)`"
)]
pub trait FromLock {
    fn from_lock(error: Error) -> Self;
}

#[diagnostic::do_not_recommend]
impl<E: From<Error>> FromLock for E {
    fn from_lock(error: Error) -> Self {
        Self::from(error)
    }
}
