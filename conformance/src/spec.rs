//! Where a store is and under which settings it is opened, in this process and in others.

use std::any::Any;
use std::fmt;
use std::time::Duration;

use tenure_core::Settings;

/// Where a store is, and under which settings it is to be opened.
#[derive(Clone, Debug)]
pub struct Spec {
    place: String,
    settings: Settings,
}

impl Spec {
    pub(crate) fn new(place: impl Into<String>, settings: Settings) -> Self {
        Self { place: place.into(), settings }
    }

    /// The folder of this run, or what the server's [`Server::new`] was given.
    #[must_use]
    pub fn place(&self) -> &str {
        &self.place
    }

    /// The settings to open the store with.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(crate) fn with_settings(&self, settings: Settings) -> Self {
        Self { place: self.place.clone(), settings }
    }

    pub(crate) fn to_text(&self) -> String {
        serde_json::to_string(&(&self.place, &self.settings)).expect("text and settings are plain data")
    }

    pub(crate) fn from_text(text: &str) -> Option<Self> {
        let (place, settings) = serde_json::from_str(text).ok()?;
        Some(Self { place, settings })
    }
}

/// A server that was started for the run, and stops when it is dropped.
pub struct Server {
    pub(crate) place: String,
    _guard: Box<dyn Any>,
}

impl Server {
    /// A server that stands at `place`, a URL for instance, until `guard` is dropped.
    #[must_use]
    pub fn new(place: impl Into<String>, guard: impl Any) -> Self {
        Self { place: place.into(), _guard: Box::new(guard) }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("place", &self.place).finish_non_exhaustive()
    }
}

/// The lease under locks that are kept alive in the cases.
pub(crate) const LEASE: Duration = Duration::from_millis(600);

/// The settings of all cases that ask for no others.
pub(crate) fn settings() -> Settings {
    Settings::default()
        .with_lease(LEASE)
        .and_then(|settings| settings.with_sleep(Duration::from_millis(10)))
        .expect("settings within their ranges")
}
