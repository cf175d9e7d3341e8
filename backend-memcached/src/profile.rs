//! Keys and values as others write them, so that locks exclude those of other programs.

use std::str::FromStr;

use tenure_core::{Error, Result, Settings};

use crate::record::Form;

/// Whose locks a store's are to exclude; see [`Builder::profile`](crate::Builder::profile).
///
/// In a URL it is the option `profile`: `?profile=django`, `?profile=django:KEY_PREFIX:VERSION`. Not every
/// character of a prefix may stand in a URL as it is; `%` and two hexadecimal digits can stand for any.
///
/// # What holds between these and django-cache-lock
///
/// Where a process with django-cache-lock takes part, who asks second is denied, whichever side that is,
/// and a lock that is held *here* is renewed and released by compare-and-swap, so never somebody else's. But
/// the other side reads and then deletes: its release, when its own lock ends at that moment, can delete the
/// next one, ours among them, as it does among its own kind. Its lifetimes are whole seconds that can end up
/// to one second early, and one below a second is for ever. `cache.clear()` empties the server. Of several
/// servers its clients take another one while the right one is down, and there they grant what is held here.
/// The holder here finds out with its next renewal, as [`Lost`](tenure_core::Kind::Lost), or as
/// [`Unavailable`](tenure_core::Kind::Unavailable) while its server is down; the fence of the next one is larger.
/// Fences are given to holders here alone.
///
/// Since such a value has no room for more than the token:
///
/// * leases end when the server says so, up to five seconds later than asked, and never early;
/// * nobody is told the holder's label or since when it holds; the fence of a holder is not told to those
///   who are denied;
/// * a lock of theirs that is broken here is deleted, since they do not know how to acknowledge;
/// * names are those that Django's caches take: 250 bytes with what stands before them, no spaces and no
///   control characters. Others are `InvalidName`.
///
/// Several servers must be placed as the cache's client does; see [`Placement`](crate::Placement).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Profile {
    /// This library's own.
    #[default]
    Tenure,
    /// django-cache-lock on Django's memcached caches: `KEY_PREFIX:VERSION:`, the prefix of the settings,
    /// and the name; the token alone as text.
    Django {
        /// `KEY_PREFIX` of the cache, empty by default.
        key_prefix: Box<str>,
        /// `VERSION` of the cache, 1 by default.
        version: i64,
    },
}

impl Profile {
    /// The profile of one of Django's caches; `("", 1)` are its defaults.
    #[must_use]
    pub fn django(key_prefix: impl Into<Box<str>>, version: i64) -> Self {
        Self::Django { key_prefix: key_prefix.into(), version }
    }

    /// The settings with what stands before every name.
    pub(crate) fn applied(&self, settings: Settings) -> Result<Settings> {
        match self {
            Self::Tenure => Ok(settings),
            Self::Django { key_prefix, version } => {
                let prefix = format!("{key_prefix}:{version}:{}", settings.prefix());
                settings.with_prefix(prefix)
            }
        }
    }

    pub(crate) fn form(&self) -> Form {
        match self {
            Self::Tenure => Form::Own,
            Self::Django { .. } => Form::Token,
        }
    }
}

/// As in a URL: `tenure`, `django` or `django:KEY_PREFIX:VERSION`.
impl FromStr for Profile {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let django = |rest: &str| {
            let (key_prefix, version) = rest.strip_prefix(':')?.rsplit_once(':')?;
            Some(Self::django(key_prefix, version.parse().ok()?))
        };
        match text {
            "tenure" => Ok(Self::Tenure),
            "django" => Ok(Self::django("", 1)),
            _ => text.strip_prefix("django").and_then(django).ok_or_else(|| {
                Error::misconfigured(
                    "there is no such profile; it is tenure, django, or django:KEY_PREFIX:VERSION",
                )
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_is_read_as_it_is_written_in_a_url() {
        for (text, profile) in [
            ("tenure", Profile::Tenure),
            ("django", Profile::django("", 1)),
            ("django::2", Profile::django("", 2)),
            ("django:a:b:-7", Profile::django("a:b", -7)),
        ] {
            assert_eq!(text.parse::<Profile>().unwrap(), profile, "{text}");
        }
        for wrong in ["", "plain", "djangox", "django:", "django:shop", "django:shop:one", "django/1"] {
            assert!(wrong.parse::<Profile>().is_err_and(|error| error.is_misconfigured()), "{wrong}");
        }
    }

    #[test]
    fn keys_begin_as_the_cache_begins_them() {
        let prefix = |profile: Profile| profile.applied(Settings::default()).unwrap().prefix().to_owned();
        assert_eq!(prefix(Profile::Tenure), "lock:");
        assert_eq!(prefix(Profile::django("", 1)), ":1:lock:");
        assert_eq!(prefix(Profile::django("shop", 2)), "shop:2:lock:");
    }
}
