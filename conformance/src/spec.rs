//! Where and how a suite wants a store opened.

use serde::{Deserialize, Serialize};
use tenure_core::Settings;

/// Where a store is, and the settings to open it with.
///
/// All that is opened with one place must be one store, in this process and in others.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Spec {
    place: String,
    settings: Settings,
}

impl Spec {
    pub(crate) fn new(place: impl Into<String>) -> Self {
        Self { place: place.into(), settings: Settings::default() }
    }

    pub(crate) fn with_settings(&self, settings: Settings) -> Self {
        Self { settings, ..self.clone() }
    }

    /// Where the store is: what the [`Server`](crate::Server) was given, or a directory that does not
    /// exist yet, the same in all processes of a run and gone when it ends.
    #[must_use]
    pub fn place(&self) -> &str {
        &self.place
    }

    /// The settings that the store must be opened with; cases vary them.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }
}
