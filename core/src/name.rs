//! Names of locks, and how a store that cannot take them as they are shortens them.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::{Error, Result};

/// The name of a lock: any non-empty unicode text of at most 64 KiB.
///
/// Two names are the same lock exactly when they are the same bytes. Nothing is folded, trimmed or
/// normalised: case, trailing spaces, U+0000, NFC against NFD all tell names apart, on every
/// backend.
///
/// ```
/// use tenure_core::Name;
///
/// let name = Name::new("nightly report")?;
/// let record = Name::join(["shop.order", "pk", "7:1"])?;
/// assert_eq!(record.as_str(), "shop.order:pk:7%3A1");
/// # Ok::<(), tenure_core::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Box<str>);

impl Name {
    /// The longest name, in bytes of UTF-8.
    pub const MAX_LEN: usize = 64 * 1024;

    /// Checks a text and makes it a name.
    ///
    /// # Errors
    ///
    /// `InvalidName` if the text is empty or longer than [`Name::MAX_LEN`] bytes.
    pub fn new(text: impl Into<Box<str>>) -> Result<Self> {
        let text = text.into();
        Self::check(&text)?;
        Ok(Self(text))
    }

    fn check(text: &str) -> Result<()> {
        match text.len() {
            0 => Err(Error::invalid_name("a lock needs a name of at least one character")),
            1..=Self::MAX_LEN => Ok(()),
            long => Err(Error::invalid_name(format!(
                "a name of {long} bytes is too long; the limit is {} bytes",
                Self::MAX_LEN
            ))),
        }
    }

    /// Joins segments with `:` so that different lists of segments never make one name.
    ///
    /// A `:` inside a segment becomes `%3A` and a `%` becomes `%25`; everything else stays.
    ///
    /// # Errors
    ///
    /// `InvalidName` if the result is empty or too long.
    pub fn join<S: AsRef<str>>(segments: impl IntoIterator<Item = S>) -> Result<Self> {
        let mut text = String::new();
        for (index, segment) in segments.into_iter().enumerate() {
            if index > 0 {
                text.push(':');
            }
            for part in segment.as_ref().chars() {
                match part {
                    ':' => text.push_str("%3A"),
                    '%' => text.push_str("%25"),
                    plain => text.push(plain),
                }
            }
        }
        Self::new(text)
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// What can name a lock: text, or a [`Name`] that was checked before.
///
/// A bad name does not stop [`Lock::new`](crate::Lock::new); the first call that needs the name
/// returns the error.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot name a lock",
    label = "not a name",
    note = "pass text, or a `Name`; `Name::join` makes one of several parts, and `format!` of anything shown"
)]
pub trait IntoName {
    /// Checks the text.
    ///
    /// # Errors
    ///
    /// `InvalidName`, as for [`Name::new`].
    fn into_name(self) -> Result<Name>;

    /// The key of the name in a store: the store's prefix and the name.
    #[doc(hidden)]
    fn into_key(self, prefix: &str) -> Result<Box<str>>
    where
        Self: Sized,
    {
        let name = self.into_name()?;
        Ok([prefix, name.as_str()].concat().into_boxed_str())
    }
}

impl IntoName for Name {
    fn into_name(self) -> Result<Name> {
        Ok(self)
    }
}

impl IntoName for &Name {
    fn into_name(self) -> Result<Name> {
        Ok(self.clone())
    }
}

impl IntoName for &str {
    fn into_name(self) -> Result<Name> {
        Name::new(self)
    }

    fn into_key(self, prefix: &str) -> Result<Box<str>> {
        Name::check(self)?;
        let mut key = String::with_capacity(prefix.len() + self.len());
        key.push_str(prefix);
        key.push_str(self);
        Ok(key.into_boxed_str())
    }
}

impl IntoName for &String {
    fn into_name(self) -> Result<Name> {
        Name::new(self.as_str())
    }
}

impl IntoName for String {
    fn into_name(self) -> Result<Name> {
        Name::new(self)
    }
}

impl IntoName for Result<Name> {
    fn into_name(self) -> Result<Name> {
        self
    }
}

/// What a store allows in a key, and how longer or odder keys are made to fit.
///
/// A key that fits is used as it is. Any other becomes a readable prefix, `~`, and the SHA-256 of
/// the whole key in hexadecimal. A key that contains `~` is never used as it is, so that no key can
/// imitate the shortened form of another: two keys share a fitted form only if SHA-256 collides.
/// A store that wants to see even that writes the full key, or its [`Fitted::digest`], beside the
/// lock and compares.
///
/// ```
/// use tenure_core::Limits;
///
/// let limits = Limits::new(100, |byte| byte.is_ascii_alphanumeric() || byte == b'-');
/// assert_eq!(limits.fit("nightly-report").as_str(), "nightly-report");
/// assert!(limits.fit("caf\u{e9} 7").as_str().starts_with("caf---7~"));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    max_len: usize,
    allowed: fn(u8) -> bool,
}

impl Limits {
    /// The bytes that a shortened key needs: `~` and 64 hexadecimal digits.
    pub const DIGEST_LEN: usize = 65;

    /// Describes a store: the longest key in bytes, and which bytes a key may hold.
    ///
    /// `allowed` must accept `-`, `~` and lower-case hexadecimal digits.
    ///
    /// # Panics
    ///
    /// If `max_len` is below [`Limits::DIGEST_LEN`], where nothing would fit.
    #[must_use]
    pub const fn new(max_len: usize, allowed: fn(u8) -> bool) -> Self {
        assert!(max_len >= Self::DIGEST_LEN, "a store must take keys of at least 65 bytes");
        Self { max_len, allowed }
    }

    /// Makes a key fit.
    #[must_use]
    pub fn fit(&self, key: &str) -> Fitted {
        let digest: [u8; 32] = Sha256::digest(key.as_bytes()).into();
        let fits = key.len() <= self.max_len && key.bytes().all(|byte| byte != b'~' && (self.allowed)(byte));
        if fits {
            return Fitted { text: key.into(), digest, shortened: false };
        }
        let readable = key
            .bytes()
            .take(self.max_len - Self::DIGEST_LEN)
            .map(|byte| if byte != b'~' && byte.is_ascii() && (self.allowed)(byte) { byte } else { b'-' });
        let mut text: String = readable.map(char::from).collect();
        text.push('~');
        for byte in digest {
            text.push(hex(byte >> 4));
            text.push(hex(byte & 15));
        }
        Fitted { text: text.into(), digest, shortened: true }
    }
}

fn hex(digit: u8) -> char {
    char::from(b"0123456789abcdef"[usize::from(digit)])
}

/// A key made to fit a store by [`Limits::fit`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fitted {
    text: Box<str>,
    digest: [u8; 32],
    shortened: bool,
}

impl Fitted {
    /// The text to use as the store's key.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The SHA-256 of the whole key, to be stored beside the lock and compared.
    #[must_use]
    pub fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// Whether the key was shortened.
    #[must_use]
    pub fn is_shortened(&self) -> bool {
        self.shortened
    }
}

#[cfg(test)]
mod properties;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_never_empty_and_never_longer_than_its_limit() {
        assert!(Name::new("").is_err_and(|error| error.is_invalid_name()));
        assert!(Name::join([""]).is_err());
        assert!(Name::new("x".repeat(Name::MAX_LEN)).is_ok());
        assert!(Name::new("x".repeat(Name::MAX_LEN + 1)).is_err_and(|error| error.is_invalid_name()));
    }

    #[test]
    fn empty_segments_count_unless_there_is_nothing_else() -> Result<()> {
        let none: [&str; 0] = [];
        assert!(Name::join(none).is_err() && Name::join([""]).is_err());
        for (segments, name) in
            [(&["", ""][..], ":"), (&["", "a"], ":a"), (&["a", ""], "a:"), (&[":"], "%3A")]
        {
            assert_eq!(Name::join(segments)?.as_str(), name);
        }
        Ok(())
    }
}
