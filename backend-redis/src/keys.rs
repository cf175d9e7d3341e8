//! The keys of a lock. All of them lie in one slot of a cluster, whatever braces a name has.

use std::sync::OnceLock;

use tenure_core::{Error, Result};

/// The keys that belong to one lock.
///
/// Beside the lock's own key `K` stand keys that begin with `~`, which no prefix does, so that no
/// lock's own key is another's sibling. How `K` goes into them depends on what decides its slot:
///
/// | `K` | sibling | slot |
/// |---|---|---|
/// | has a hash tag, as `a{u}b` | `~f:a{u}b` | that of the tag `u` in both |
/// | has no `}`, as `a` or `a{b` | `~f:{a{b}` | `K` whole is the tag |
/// | any other, as `a}b` or `{}x` | `~f:{7h}a}b` | `7h` is a short text of the slot of `K` |
///
/// See the Redis cluster specification, *hash tags*.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Keys {
    own: Box<[u8]>,
    form: Form,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Form {
    Tagged,
    Whole,
    Slot(Box<str>),
}

/// What a sibling key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sibling {
    /// The last fence, and who got it when.
    Fence,
    /// Whose lock was broken.
    Broken,
    /// Who shares the lock, with their fences.
    Sharers,
    /// A writer that waits for readers to leave.
    Writer,
    /// The latest attempt of whoever holds the lock, where there are several servers.
    Attempt,
    /// Who waits, in order.
    Queue,
    /// What is known of those who wait.
    Places,
}

impl Sibling {
    fn letter(self) -> u8 {
        match self {
            Self::Fence => b'f',
            Self::Broken => b'b',
            Self::Sharers => b's',
            Self::Writer => b'w',
            Self::Attempt => b'a',
            Self::Queue => b'q',
            Self::Places => b'p',
        }
    }
}

/// What a sibling begins with.
pub(crate) const MARK: char = '~';

impl Keys {
    pub(crate) fn new(key: &str) -> Self {
        let own: Box<[u8]> = key.as_bytes().into();
        let form = match (tag(&own), own.contains(&b'}')) {
            (Some(_), _) => Form::Tagged,
            (None, false) => Form::Whole,
            (None, true) => Form::Slot(text_of_slot(slot(&own)).into()),
        };
        Self { own, form }
    }

    /// As [`new`](Self::new), for a key that may come from anywhere.
    ///
    /// # Errors
    ///
    /// `InvalidName` if it looks like a sibling of another lock's.
    pub(crate) fn checked(key: &str) -> Result<Self> {
        if key.starts_with(MARK) {
            return Err(Error::invalid_name(format!(
                "without a prefix a name cannot begin with {MARK:?}, as the keys beside a lock do"
            )));
        }
        Ok(Self::new(key))
    }

    /// The lock's own key.
    pub(crate) fn own(&self) -> &[u8] {
        &self.own
    }

    pub(crate) fn sibling(&self, sibling: Sibling) -> Vec<u8> {
        let own = &*self.own;
        let letter = [MARK as u8, sibling.letter()];
        match &self.form {
            Form::Tagged => [&letter[..], b":", own].concat(),
            Form::Whole => [&letter[..], b":{", own, b"}"].concat(),
            Form::Slot(text) => [&letter[..], b":{", text.as_bytes(), b"}", own].concat(),
        }
    }
}

/// The slot of a key: CRC16 (XMODEM) of its hash tag, or of the whole key, modulo 16384.
pub(crate) fn slot(key: &[u8]) -> u16 {
    crc16(tag(key).unwrap_or(key)) % SLOTS
}

pub(crate) const SLOTS: u16 = 16384;

/// What stands between the first `{` and the first `}` after it, unless that is nothing.
fn tag(key: &[u8]) -> Option<&[u8]> {
    let open = key.iter().position(|byte| *byte == b'{')?;
    let rest = &key[open + 1..];
    let close = rest.iter().position(|byte| *byte == b'}')?;
    (close > 0).then(|| &rest[..close])
}

fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc: u16, byte| {
        (0..8).fold(crc ^ u16::from(*byte) << 8, |crc, _| match crc & 0x8000 {
            0 => crc << 1,
            _ => crc << 1 ^ 0x1021,
        })
    })
}

/// A short text whose slot this is. Found once by trying numbers, some milliseconds for all slots.
pub(crate) fn text_of_slot(slot: u16) -> String {
    static TEXTS: OnceLock<Vec<u32>> = OnceLock::new();
    let texts = TEXTS.get_or_init(|| {
        let mut texts = vec![u32::MAX; usize::from(SLOTS)];
        let mut left = texts.len();
        for number in 0.. {
            let found = &mut texts[usize::from(crc16(radix36(number).as_bytes()) % SLOTS)];
            if *found == u32::MAX {
                *found = number;
                left -= 1;
            }
            if left == 0 {
                break;
            }
        }
        texts
    });
    radix36(texts[usize::from(slot % SLOTS)])
}

fn radix36(mut number: u32) -> String {
    let mut digits = Vec::new();
    loop {
        digits.push(char::from_digit(number % 36, 36).unwrap_or('0'));
        number /= 36;
        if number == 0 {
            return digits.into_iter().rev().collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIBLINGS: [Sibling; 7] = [
        Sibling::Fence,
        Sibling::Broken,
        Sibling::Sharers,
        Sibling::Writer,
        Sibling::Attempt,
        Sibling::Queue,
        Sibling::Places,
    ];

    #[test]
    fn slots_are_those_of_the_specification() {
        // From the specification and from `CLUSTER KEYSLOT`.
        for (key, expected) in
            [("123456789", 12739), ("foo{hash_tag}", 2515), ("bar{hash_tag}", 2515), ("", 0)]
        {
            assert_eq!(slot(key.as_bytes()), expected, "{key}");
        }
        assert_eq!(slot(b"{user1000}.following"), slot(b"{user1000}.followers"));
        assert_eq!(slot(b"foo{}{bar}"), crc16(b"foo{}{bar}") % SLOTS);
        assert_eq!(slot(b"foo{{bar}}zap"), crc16(b"{bar") % SLOTS);
    }

    #[test]
    fn siblings_lie_in_the_slot_of_their_key_and_never_meet() {
        let names = [
            "a",
            "a{u1}b",
            "a{b",
            "a}b",
            "{}x",
            "}{",
            "{",
            "}",
            "a}b{c}d",
            "{{x}}",
            "",
            "\0{\u{e9}}",
            "~f:{a}",
        ];
        let mut seen = std::collections::HashSet::new();
        for name in names {
            let key = format!("lock:{name}");
            let keys = Keys::new(&key);
            assert!(seen.insert(keys.own().to_vec()), "{key}");
            for sibling in SIBLINGS {
                let other = keys.sibling(sibling);
                assert_eq!(slot(&other), slot(key.as_bytes()), "{}", String::from_utf8_lossy(&other));
                assert!(seen.insert(other), "{key}: two siblings are one");
            }
        }
    }

    #[test]
    fn every_slot_has_a_short_text() {
        for slot_number in 0..SLOTS {
            let text = text_of_slot(slot_number);
            assert_eq!(slot(text.as_bytes()), slot_number);
            assert!(text.len() <= 4, "{text}");
        }
    }
}
