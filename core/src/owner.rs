//! Owner tokens: what makes a grant yours.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::sync::random;
use crate::{Error, Result};

/// The token of one acquisition: 128 random bits, written as 32 hexadecimal digits.
///
/// Whoever knows it can release or [restore](crate::Restore) the lock, so it is never shown in
/// full by `Debug`. It also makes every request repeatable: asking again with the same token after
/// an answer got lost gives the true answer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner(u128);

impl Owner {
    /// Draws a token from the operating system's seeded generator.
    #[inline]
    #[must_use]
    pub fn random() -> Self {
        loop {
            // Zero marks "nobody" in several stores' records.
            if let token @ 1.. = random::<u128>() {
                return Self(token);
            }
        }
    }

    /// The token as 16 bytes, most significant first.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    /// Reads a token from 16 bytes; all zeros is nobody.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Option<Self> {
        match u128::from_be_bytes(bytes) {
            0 => None,
            token => Some(Self(token)),
        }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Owner({:06x}..)", self.0 >> 104)
    }
}

impl FromStr for Owner {
    type Err = Error;

    /// Reads 32 hexadecimal digits.
    ///
    /// # Errors
    ///
    /// `Misconfigured` for anything else.
    fn from_str(text: &str) -> Result<Self> {
        let digits = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        digits
            .then(|| u128::from_str_radix(text, 16).ok())
            .flatten()
            .filter(|token| *token != 0)
            .map(Self)
            .ok_or_else(|| Error::misconfigured("an owner token is 32 hexadecimal digits, not all zero"))
    }
}

impl Serialize for Owner {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Owner {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_survives_text_and_bytes_and_hides_in_debug() -> Result<()> {
        let owner = Owner::random();
        assert_eq!(owner.to_string().parse::<Owner>()?, owner);
        assert_eq!(Owner::from_bytes(owner.to_bytes()), Some(owner));
        assert!(!format!("{owner:?}").contains(&owner.to_string()));
        Ok(())
    }

    #[test]
    fn what_is_no_token_is_refused() {
        for text in ["", "0", "xyz", &"0".repeat(32), &"f".repeat(33), "+fffffffffffffffffffffffffffffff"] {
            assert!(text.parse::<Owner>().is_err(), "{text:?}");
        }
    }
}

#[cfg(test)]
mod properties {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn an_owner_is_32_digits_that_are_not_all_zero_and_nothing_else(
            text in prop_oneof![any::<String>(), "[0-9a-fA-F]{30,34}", "[+-]?[0-9a-f]{31}", "0{31,33}"],
        ) {
            let right = text.len() == 32
                && text.bytes().all(|byte| byte.is_ascii_hexdigit())
                && text.bytes().any(|byte| byte != b'0');
            match text.parse::<Owner>() {
                Ok(owner) => prop_assert!(right && owner.to_string() == text.to_ascii_lowercase()),
                Err(error) => prop_assert!(!right && error.is_misconfigured()),
            }
        }
    }
}
