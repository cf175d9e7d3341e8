//! What the builders are told, and what it comes to once it is checked. No I/O.

use std::time::Duration;

use tenure_core::{Error, Result, Settings, Site};

use crate::acks::Acks;
use crate::config::Wake;
use crate::fair::Queue;
use crate::keys::MARK;
use crate::profile::{Profile, Tokens};
use crate::script::{Dialect, Guard};
use crate::together::{self, Part};
use crate::url::Options;

/// What a builder was told, as it was told.
#[derive(Clone, Debug)]
pub(crate) struct Choice {
    pub(crate) settings: Settings,
    pub(crate) connect_timeout: Duration,
    pub(crate) io_timeout: Duration,
    pub(crate) pool_size: u32,
    pub(crate) acks: Option<Acks>,
    /// These may be said by a URL as well.
    pub(crate) wake: Option<Wake>,
    pub(crate) fair: Option<bool>,
    pub(crate) guard: Option<bool>,
    pub(crate) profile: Option<Profile>,
}

/// What was chosen, checked; the settings have what the profile puts before names.
#[derive(Clone, Debug)]
pub(crate) struct Chosen {
    pub(crate) settings: Settings,
    pub(crate) connect_timeout: Duration,
    pub(crate) io_timeout: Duration,
    pub(crate) pool_size: u32,
    acks: Option<Acks>,
    wake: Wake,
    fair: bool,
    guard: bool,
    tokens: Tokens,
}

impl Default for Choice {
    fn default() -> Self {
        Self {
            settings: Settings::default(),
            connect_timeout: Duration::from_secs(2),
            io_timeout: Duration::from_secs(2),
            pool_size: 16,
            acks: None,
            wake: None,
            fair: None,
            guard: None,
            profile: None,
        }
    }
}

impl Choice {
    /// With what a URL says where the builder was told nothing.
    #[must_use]
    pub(crate) fn or(self, options: Options) -> Self {
        Self {
            wake: self.wake.or(options.wake),
            fair: self.fair.or(options.fair),
            guard: self.guard.or(options.guard),
            profile: self.profile.or(options.profile),
            ..self
        }
    }

    /// What it comes to with servers of a kind.
    ///
    /// # Errors
    ///
    /// `Misconfigured` for what cannot work, alone or together.
    pub(crate) fn with(self, servers: Part) -> Result<Chosen> {
        within("connect_timeout", self.connect_timeout)?;
        within("io_timeout", self.io_timeout)?;
        if !(1..=10_000).contains(&self.pool_size) {
            let message = format!("pool_size is {}; it must be 1 to 10000", self.pool_size);
            return Err(Error::misconfigured(message));
        }
        if let Some(Acks { replicas, within }) = self.acks {
            if !(1..=1000).contains(&replicas) {
                return Err(Error::misconfigured(format!("replicas is {replicas}; it must be 1 to 1000")));
            }
            if within < Duration::from_millis(1) || within > self.io_timeout / 2 {
                return Err(Error::misconfigured(format!(
                    "replicas get {within:?}; it must be 1 ms to half of io_timeout, which is {:?}",
                    self.io_timeout
                )));
            }
        }
        together::check(&self.parts(servers))?;
        let profile = self.profile.unwrap_or_default();
        let settings = profile.applied(self.settings)?;
        if settings.prefix().starts_with(MARK) {
            return Err(Error::misconfigured(format!(
                "the prefix begins with {MARK:?}, as the keys beside a lock do; choose another"
            )));
        }
        Ok(Chosen {
            settings,
            connect_timeout: self.connect_timeout,
            io_timeout: self.io_timeout,
            pool_size: self.pool_size,
            acks: self.acks,
            wake: self.wake.unwrap_or_default(),
            fair: self.fair == Some(true),
            guard: self.guard == Some(true),
            tokens: profile.tokens(),
        })
    }

    fn parts(&self, servers: Part) -> Vec<Part> {
        let profile = match self.profile {
            Some(Profile::Plain) => Some(Part::Plain),
            Some(Profile::Django { .. }) => Some(Part::Django),
            Some(Profile::Tenure) | None => None,
        };
        let chosen = [
            Some(servers),
            profile,
            self.acks.map(|_| Part::Replicas),
            (self.fair == Some(true)).then_some(Part::Fair),
            (self.guard == Some(true)).then_some(Part::Guard),
            (self.wake == Some(Wake::Channel)).then_some(Part::Channel),
        ];
        chosen.into_iter().flatten().collect()
    }
}

impl Chosen {
    /// The site of a store that is called so.
    pub(crate) fn site(&self, label: &str) -> Site {
        match self.fair {
            true => Site::queued(label, self.settings.clone()),
            false => Site::new(label, self.settings.clone()),
        }
    }

    /// What is said to servers, which may tell of changed keys.
    pub(crate) fn dialect(&self, tracks: bool) -> Dialect {
        let tracks = tracks && self.wake == Wake::Auto;
        let channel = if tracks || self.fair {
            Vec::new()
        } else {
            format!("{MARK}n:{}", self.settings.prefix()).into_bytes()
        };
        let max_ttl = self.settings.max_ttl().get();
        Dialect {
            fence_life: Duration::from_secs(24 * 3600).max(max_ttl * 2),
            channel,
            patience: self.settings.recheck() * 2,
            note_life: max_ttl * 2,
            acks: self.acks,
            guard: self.guard.then(|| Guard::new(self.settings.prefix(), max_ttl)),
            queue: self.fair.then(|| Queue::new(self.settings.recheck())),
            tokens: self.tokens,
        }
    }
}

/// Whether a time limit is one that can be kept.
///
/// # Errors
///
/// `Misconfigured`, naming the setting and what it may be.
pub(crate) fn within(setting: &str, value: Duration) -> Result<()> {
    let (least, most) = (Duration::from_millis(10), Duration::from_secs(60));
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(Error::misconfigured(format!("{setting} is {value:?}; it must be {least:?} to {most:?}")))
}
