//! The server of a store that needs one.

use std::any::Any;
use std::fmt;

/// A running server that belongs to the suite alone.
pub struct Server {
    place: String,
    _process: Box<dyn Any + Send + Sync>,
}

impl Server {
    /// A server that stands at `place`, a URL for instance; `process` is dropped when the suite ends, and stops it.
    pub fn new(place: impl Into<String>, process: impl Any + Send + Sync) -> Self {
        Self { place: place.into(), _process: Box::new(process) }
    }

    pub(crate) fn place(&self) -> &str {
        &self.place
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("place", &self.place).finish_non_exhaustive()
    }
}

/// Why there is no server here: a program that is not installed, a port that is taken.
#[derive(Clone, Debug)]
pub struct Absent(String);

impl Absent {
    /// Says what is missing and how to get it.
    pub fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

impl<T: Into<String>> From<T> for Absent {
    fn from(reason: T) -> Self {
        Self::new(reason)
    }
}

impl fmt::Display for Absent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
