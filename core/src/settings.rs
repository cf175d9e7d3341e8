//! Settings that a store gives to all its locks.

use std::env::VarError;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Error, Result, Ttl};

/// Defaults for every lock of a store; a lock's own options win over them.
///
/// Reads from any `serde` format, and from the environment. Durations are text such as `"100ms"`
/// or `"1h 30m"`.
///
/// | field | environment | default | range |
/// |---|---|---|---|
/// | `prefix` | `TENURE_PREFIX` | `"lock:"` | at most 256 bytes |
/// | `sleep` | `TENURE_SLEEP` | 100 ms | 1 ms to 60 s |
/// | `release_on_drop` | `TENURE_RELEASE_ON_DROP` | `true` | `true`, `false` |
/// | `lease` | `TENURE_LEASE` | 30 s | 10 ms to `max_ttl` |
/// | `max_ttl` | `TENURE_MAX_TTL` | 1 h | 10 ms to 30 d |
/// | `recheck` | `TENURE_RECHECK` | 5 s | 10 ms to 1 h |
///
/// ```
/// use std::time::Duration;
/// use tenure_core::Settings;
///
/// let settings = Settings::default().with_prefix("app:")?.with_lease(Duration::from_secs(10))?;
/// let read: Settings = serde_json::from_str(r#"{ "prefix": "app:", "lease": "10s" }"#).unwrap();
/// assert_eq!(settings, read);
/// # Ok::<(), tenure_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Raw", into = "Raw")]
pub struct Settings {
    prefix: Box<str>,
    sleep: Duration,
    release_on_drop: bool,
    lease: Ttl,
    max_ttl: Ttl,
    recheck: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Raw::default().check().expect("the defaults obey their own rules")
    }
}

impl Settings {
    /// Reads `TENURE_PREFIX`, `TENURE_SLEEP` and so on; what is not set keeps its default.
    ///
    /// # Errors
    ///
    /// `Misconfigured`, naming the variable and what it may hold.
    pub fn from_env() -> Result<Self> {
        Self::from_vars(|variable| match std::env::var(variable) {
            Ok(value) => Ok(Some(value)),
            Err(VarError::NotPresent) => Ok(None),
            Err(VarError::NotUnicode(_)) => {
                Err(Error::misconfigured(format!("{variable} is not unicode; set it to plain text")))
            }
        })
    }

    fn from_vars(read: impl Fn(&str) -> Result<Option<String>>) -> Result<Self> {
        let mut raw = Raw::default();
        let duration = |variable: &str, into: &mut Duration| -> Result<()> {
            if let Some(text) = read(variable)? {
                *into = humantime::parse_duration(text.trim()).map_err(|source| {
                    Error::misconfigured(format!(
                        "{variable} is {text:?}; write a duration such as \"100ms\" or \"30s\""
                    ))
                    .with_source(source)
                })?;
            }
            Ok(())
        };
        duration("TENURE_SLEEP", &mut raw.sleep)?;
        duration("TENURE_LEASE", &mut raw.lease)?;
        duration("TENURE_MAX_TTL", &mut raw.max_ttl)?;
        duration("TENURE_RECHECK", &mut raw.recheck)?;
        if let Some(prefix) = read("TENURE_PREFIX")? {
            raw.prefix = prefix.into();
        }
        if let Some(text) = read("TENURE_RELEASE_ON_DROP")? {
            raw.release_on_drop = match text.trim() {
                "true" | "1" => true,
                "false" | "0" => false,
                _ => {
                    return Err(Error::misconfigured(format!(
                        "TENURE_RELEASE_ON_DROP is {text:?}; write \"true\" or \"false\""
                    )));
                }
            };
        }
        raw.check()
    }

    /// What stands before every name in the store's keys.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// How long a waiter sleeps between two looks at a store that cannot notify.
    #[must_use]
    pub fn sleep(&self) -> Duration {
        self.sleep
    }

    /// Whether dropping a held lock releases it.
    #[must_use]
    pub fn release_on_drop(&self) -> bool {
        self.release_on_drop
    }

    /// The lifetime under a lock that is kept alive; a killed holder frees it within this time.
    #[must_use]
    pub fn lease(&self) -> Ttl {
        self.lease
    }

    /// The longest lifetime that may be asked; quarantines last as long. All processes that share
    /// a store must agree on it.
    #[must_use]
    pub fn max_ttl(&self) -> Ttl {
        self.max_ttl
    }

    /// How long a waiter trusts a store that can notify before it looks again.
    #[must_use]
    pub fn recheck(&self) -> Duration {
        self.recheck
    }

    /// Sets the prefix.
    ///
    /// # Errors
    ///
    /// `Misconfigured` if it is longer than 256 bytes.
    pub fn with_prefix(self, prefix: impl Into<Box<str>>) -> Result<Self> {
        Raw { prefix: prefix.into(), ..self.into() }.check()
    }

    /// Sets the poll interval.
    ///
    /// # Errors
    ///
    /// `Misconfigured` outside 1 ms to 60 s.
    pub fn with_sleep(self, sleep: Duration) -> Result<Self> {
        Raw { sleep, ..self.into() }.check()
    }

    /// Sets whether dropping a held lock releases it.
    #[must_use]
    pub fn with_release_on_drop(self, release_on_drop: bool) -> Self {
        Self { release_on_drop, ..self }
    }

    /// Sets the lifetime under a lock that is kept alive.
    ///
    /// # Errors
    ///
    /// `Misconfigured` outside 10 ms to `max_ttl`.
    pub fn with_lease(self, lease: Duration) -> Result<Self> {
        Raw { lease, ..self.into() }.check()
    }

    /// Sets the longest lifetime that may be asked.
    ///
    /// # Errors
    ///
    /// `Misconfigured` outside 10 ms to 30 days, or below `lease`.
    pub fn with_max_ttl(self, max_ttl: Duration) -> Result<Self> {
        Raw { max_ttl, ..self.into() }.check()
    }

    /// Sets how long a waiter trusts notifications.
    ///
    /// # Errors
    ///
    /// `Misconfigured` outside 10 ms to 1 h.
    pub fn with_recheck(self, recheck: Duration) -> Result<Self> {
        Raw { recheck, ..self.into() }.check()
    }
}

/// The settings as they are written, before their rules are checked.
#[derive(Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "settings by name")]
struct Raw {
    #[serde(deserialize_with = "named::prefix")]
    prefix: Box<str>,
    #[serde(serialize_with = "text::serialize", deserialize_with = "named::sleep")]
    sleep: Duration,
    #[serde(deserialize_with = "named::release_on_drop")]
    release_on_drop: bool,
    #[serde(serialize_with = "text::serialize", deserialize_with = "named::lease")]
    lease: Duration,
    #[serde(serialize_with = "text::serialize", deserialize_with = "named::max_ttl")]
    max_ttl: Duration,
    #[serde(serialize_with = "text::serialize", deserialize_with = "named::recheck")]
    recheck: Duration,
}

impl Default for Raw {
    fn default() -> Self {
        Self {
            prefix: "lock:".into(),
            sleep: Duration::from_millis(100),
            release_on_drop: true,
            lease: Duration::from_secs(30),
            max_ttl: Duration::from_secs(3600),
            recheck: Duration::from_secs(5),
        }
    }
}

impl Raw {
    fn check(self) -> Result<Settings> {
        if self.prefix.len() > 256 {
            let long = self.prefix.len();
            return Err(Error::misconfigured(format!("the prefix is {long} bytes long; the limit is 256")));
        }
        within("sleep", self.sleep, Duration::from_millis(1), Duration::from_secs(60))?;
        within("recheck", self.recheck, Duration::from_millis(10), Duration::from_secs(3600))?;
        within("max_ttl", self.max_ttl, Ttl::MIN.get(), Ttl::MAX.get())?;
        within("lease", self.lease, Ttl::MIN.get(), self.max_ttl).map_err(|error| match self.lease {
            lease if lease > self.max_ttl => Error::misconfigured(format!("{error}, which is max_ttl")),
            _ => error,
        })?;
        Ok(Settings {
            prefix: self.prefix,
            sleep: self.sleep,
            release_on_drop: self.release_on_drop,
            lease: Ttl::new(self.lease)?,
            max_ttl: Ttl::new(self.max_ttl)?,
            recheck: self.recheck,
        })
    }
}

fn within(setting: &str, value: Duration, least: Duration, most: Duration) -> Result<()> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(Error::misconfigured(format!("{setting} is {value:?}; it must be {least:?} to {most:?}")))
}

impl TryFrom<Raw> for Settings {
    type Error = Error;

    fn try_from(raw: Raw) -> Result<Self> {
        raw.check()
    }
}

impl From<Settings> for Raw {
    fn from(settings: Settings) -> Self {
        Self {
            prefix: settings.prefix,
            sleep: settings.sleep,
            release_on_drop: settings.release_on_drop,
            lease: settings.lease.get(),
            max_ttl: settings.max_ttl.get(),
            recheck: settings.recheck,
        }
    }
}

/// Fields whose errors say which of them it is; not every format does.
mod named {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, de};

    macro_rules! fields {
        ($($field:ident: $type:ty = $read:path;)*) => {$(
            pub(super) fn $field<'de, D: Deserializer<'de>>(deserializer: D) -> Result<$type, D::Error> {
                let named = |error| de::Error::custom(format_args!("{}: {error}", stringify!($field)));
                $read(deserializer).map_err(named)
            }
        )*};
    }

    fields! {
        prefix: Box<str> = Box::deserialize;
        sleep: Duration = super::text::deserialize;
        release_on_drop: bool = bool::deserialize;
        lease: Duration = super::text::deserialize;
        max_ttl: Duration = super::text::deserialize;
        recheck: Duration = super::text::deserialize;
    }
}

/// Durations as text.
mod text {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_duration(*value))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(deserializer)?;
        humantime::parse_duration(&text).map_err(|error| {
            de::Error::custom(format!("{text:?} is no duration ({error}); write \"100ms\" or \"30s\""))
        })
    }
}

#[cfg(test)]
mod properties;

#[cfg(test)]
mod tests {
    use super::*;

    fn from_pairs(pairs: &[(&str, &str)]) -> Result<Settings> {
        Settings::from_vars(|variable| {
            Ok(pairs.iter().find(|(name, _)| *name == variable).map(|(_, value)| (*value).to_owned()))
        })
    }

    #[test]
    fn unset_variables_keep_the_defaults() {
        assert_eq!(from_pairs(&[]).unwrap(), Settings::default());
        assert_eq!(Settings::default().prefix(), "lock:");
    }

    #[test]
    fn variables_are_read() {
        let settings = from_pairs(&[
            ("TENURE_PREFIX", ""),
            ("TENURE_SLEEP", "5ms"),
            ("TENURE_LEASE", "2s"),
            ("TENURE_MAX_TTL", "1m"),
            ("TENURE_RECHECK", "1s"),
            ("TENURE_RELEASE_ON_DROP", "false"),
        ])
        .unwrap();
        assert_eq!(settings.prefix(), "");
        assert_eq!(settings.sleep(), Duration::from_millis(5));
        assert_eq!(settings.lease().get(), Duration::from_secs(2));
        assert_eq!(settings.max_ttl().get(), Duration::from_secs(60));
        assert!(!settings.release_on_drop());
    }

    #[test]
    fn bad_values_name_the_variable_or_the_field_and_the_remedy() {
        for (pairs, expected) in [
            (&[("TENURE_SLEEP", "soon")][..], "TENURE_SLEEP"),
            (&[("TENURE_RELEASE_ON_DROP", "maybe")], "\"true\" or \"false\""),
            (&[("TENURE_LEASE", "2h")], "lease is 7200s; it must be 10ms to 3600s"),
            (&[("TENURE_SLEEP", "0s")], "sleep is 0ns; it must be 1ms to 60s"),
            (&[("TENURE_MAX_TTL", "31days")], "max_ttl"),
            (&[("TENURE_MAX_TTL", "1s")], "lease is 30s; it must be 10ms to 1s, which is max_ttl"),
        ] {
            let error = from_pairs(pairs).unwrap_err();
            assert!(error.is_misconfigured() && error.to_string().contains(expected), "{error}");
        }
        assert!(Settings::default().with_prefix("x".repeat(257)).is_err());
    }

    #[test]
    fn a_format_with_unknown_or_bad_fields_is_refused() {
        for (text, expected) in [
            (r#"{"leese":"1s"}"#, "leese"),
            (r#"{"lease":"1ns"}"#, "lease is 1ns"),
            (r#"{"lease":5}"#, "lease: invalid type"),
            (r#"{"sleep":"x"}"#, "sleep: \"x\" is no duration"),
            (r#"{"release_on_drop":1}"#, "release_on_drop: "),
            (r#"{"prefix":null}"#, "prefix: "),
            ("5", "expected settings by name"),
        ] {
            let error = serde_json::from_str::<Settings>(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
        let text = serde_json::to_string(&Settings::default()).unwrap();
        assert_eq!(serde_json::from_str::<Settings>(&text).unwrap(), Settings::default());
    }
}
