//! Keys and values as others write them, so that locks exclude those of other programs.

use std::str::FromStr;

use tenure_core::{Error, Owner, Result, Settings};

/// Whose locks a store's are to exclude; see [`Builder::profile`](crate::Builder::profile).
///
/// In a URL it is the option `profile`: `redis://host/?profile=plain`, `?profile=django`,
/// `?profile=django:KEY_PREFIX:VERSION`. Not every character of a prefix may stand in a URL as it is; `%`
/// and two hexadecimal digits can stand for any.
///
/// | locks of | profile | name here | |
/// |---|---|---|---|
/// | this library | `Tenure` | `NAME` | tested |
/// | python-redis-lock | `Tenure`, or `Plain` | `NAME`, or `lock:NAME` | run |
/// | redis-py, redlock (npm), redlock and rslock (cargo) | `Plain` | `NAME` | run |
/// | pottery | `Plain` | `redlock:NAME` | run |
/// | redis-semaphore | `Plain` | `mutex:NAME` | run |
/// | django-cache-lock on django-redis, on django-redis-cache, on Django's `RedisCache` | `Django` | `NAME` | run |
/// | redsync, bsm/redislock, DistributedLock | `Plain` | `NAME` | read |
/// | ShedLock | `Plain` | `job-lock:ENVIRONMENT:NAME` | read |
/// | Laravel | `Plain` | the prefixes of its connection and of its cache, then `NAME` | read |
///
/// *Run* means that `cargo xtask interop` runs the library itself against a store of the profile; *read*,
/// that its source was read and does what one of those does.
///
/// # What holds between these and ours
///
/// Where locks are held alone on both sides, the pairs of the table are *exact*: who asks second is
/// denied, whichever side that is; each side releases, extends and finds to be held its own alone, however
/// late it asks; and who waits here hears of their release at once. Fences are given to holders here
/// alone.
///
/// These pairs are not exact, since one side deletes without comparing. The holder here finds out with
/// its next renewal, as `Lost`, and the fence of the next one is larger:
///
/// | what | when |
/// |---|---|
/// | django-cache-lock on Django's `RedisCache` | it reads and then deletes, so that a release as its own lock ends can delete the next one, as it does among its own kind |
/// | ShedLock without `safeUpdate`, `forceRelease` of Laravel, `release(force=True)` of django-cache-lock | always |
/// | `cache.clear()` of Django | always, and the memory of fences is gone too |
///
/// These merely *fail closed*: nobody gets a lock that another holds, but something else is lost:
///
/// | what | how it looks |
/// |---|---|
/// | a lock here that is shared, or of which there are permits | their attempts are denied, or fail with an error, `WRONGTYPE`, in python-redis-lock and pottery; so do those of others to read whose it is |
/// | python-redis-lock waits for a lock that is held here | it is not told of the release: it looks again when its `timeout` or `expire` is over, and without either it waits for ever |
/// | any other of them waits for a lock that is held here | it asks again now and then, as it does among its own kind |
/// | a lock of theirs is broken here | the name stays closed until its lifetime is over, since they do not know how to acknowledge; one without a lifetime is free at once |
/// | Redisson, which keeps a lock in a hash | both sides are denied; it gets an error instead of waiting |
/// | Symfony, which keeps a lock in a sorted set | both sides are denied; what both share is not shared between them |
///
/// With `Plain` every key of the database can be a lock, and counts as held if it is there:
/// [`list`](tenure_core::Inspect::list) names all keys, and breaking such a lock at once (`Breaking::Now`) deletes the key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Profile {
    /// This library's own: the prefix of the settings and the name, and a token of 32 hexadecimal digits.
    #[default]
    Tenure,
    /// The name is the key, whatever the prefix of the settings. A name that begins with `~` is refused:
    /// such keys are the memory of fences.
    Plain,
    /// `KEY_PREFIX:VERSION:`, the prefix of the settings, and the name. The value is a whole number,
    /// which Django's caches read whatever their serializer and compressor are; it is never equal to a
    /// token of theirs.
    Django {
        /// `KEY_PREFIX` of the cache, empty by default.
        key_prefix: Box<str>,
        /// `VERSION` of the cache, 1 by default.
        version: i64,
    },
}

/// How owner tokens are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tokens {
    Hexadecimal,
    Decimal,
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
            Self::Plain => settings.with_prefix(""),
            Self::Django { key_prefix, version } => {
                let prefix = format!("{key_prefix}:{version}:{}", settings.prefix());
                settings.with_prefix(prefix)
            }
        }
    }

    pub(crate) fn tokens(&self) -> Tokens {
        match self {
            Self::Django { .. } => Tokens::Decimal,
            _ => Tokens::Hexadecimal,
        }
    }
}

/// As in a URL: `tenure`, `plain`, `django` or `django:KEY_PREFIX:VERSION`.
impl FromStr for Profile {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let django = |rest: &str| {
            let (key_prefix, version) = rest.strip_prefix(':')?.rsplit_once(':')?;
            Some(Self::django(key_prefix, version.parse().ok()?))
        };
        match text {
            "tenure" => Ok(Self::Tenure),
            "plain" => Ok(Self::Plain),
            "django" => Ok(Self::django("", 1)),
            _ => text.strip_prefix("django").and_then(django).ok_or_else(|| {
                Error::misconfigured(
                    "there is no such profile; it is tenure, plain, django, or django:KEY_PREFIX:VERSION",
                )
            }),
        }
    }
}

impl Tokens {
    pub(crate) fn of(self, owner: Owner) -> Vec<u8> {
        match self {
            Self::Hexadecimal => owner.to_string().into_bytes(),
            Self::Decimal => u128::from_be_bytes(owner.to_bytes()).to_string().into_bytes(),
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
            ("plain", Profile::Plain),
            ("django", Profile::django("", 1)),
            ("django::2", Profile::django("", 2)),
            ("django:shop:1", Profile::django("shop", 1)),
            ("django:a:b:-7", Profile::django("a:b", -7)),
        ] {
            assert_eq!(text.parse::<Profile>().unwrap(), profile, "{text}");
        }
        for wrong in ["", "Plain", "djangox", "django:", "django:shop", "django:shop:one", "django/1"] {
            assert!(wrong.parse::<Profile>().is_err_and(|error| error.is_misconfigured()), "{wrong}");
        }
    }

    #[test]
    fn keys_are_those_that_others_write() {
        let prefix = |profile: &Profile| -> String {
            let settings = Settings::default().with_prefix("lock:").unwrap();
            profile.applied(settings).unwrap().prefix().into()
        };
        assert_eq!(prefix(&Profile::Tenure), "lock:");
        assert_eq!(prefix(&Profile::Plain), "");
        assert_eq!(prefix(&Profile::django("", 1)), ":1:lock:");
        assert_eq!(prefix(&Profile::django("shop", 2)), "shop:2:lock:");
    }

    #[test]
    fn tokens_are_different_and_in_django_whole_numbers() {
        let owner = Owner::from_bytes([255; 16]).unwrap();
        assert_eq!(Tokens::Hexadecimal.of(owner), "f".repeat(32).into_bytes());
        assert_eq!(Tokens::Decimal.of(owner), u128::MAX.to_string().into_bytes());
    }
}
