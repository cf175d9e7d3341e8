//! The key of a lock as the table has it.

use tenure_core::Limits;

/// What fits into the column; a longer key is shortened, and stands whole beside it.
const LIMITS: Limits = Limits::new(255, |_| true);

/// The key of a lock as the table has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    name: Box<[u8]>,
    whole: Option<Box<[u8]>>,
    payload: u64,
}

impl Key {
    pub(crate) fn new(key: &str) -> Self {
        let fitted = LIMITS.fit(key);
        let whole = fitted.is_shortened().then(|| key.as_bytes().into());
        let [a, b, c, d, e, f, g, h, ..] = *fitted.digest();
        Self {
            name: fitted.as_str().as_bytes().into(),
            whole,
            payload: u64::from_be_bytes([a, b, c, d, e, f, g, h]),
        }
    }

    /// What is in the column that decides which lock it is.
    pub(crate) fn name(&self) -> &[u8] {
        &self.name
    }

    /// The whole key, if the column has no room for it.
    pub(crate) fn whole(&self) -> Option<&[u8]> {
        self.whole.as_deref()
    }

    /// A number for whoever listens; two locks that share one wake each other's waiters, which is no harm.
    #[cfg(any(feature = "sqlite", feature = "postgres"))]
    pub(crate) fn number(&self) -> u64 {
        self.payload
    }

    /// The number as text.
    pub(crate) fn payload(&self) -> String {
        format!("{:016x}", self.payload)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_is_its_own_name_and_what_does_not_stands_whole_beside_it() {
        let short = Key::new("lock:caf\u{e9}\0 ");
        assert_eq!((short.name(), short.whole()), ("lock:caf\u{e9}\0 ".as_bytes(), None));
        for key in ["lock:~", &"x".repeat(256)] {
            let long = Key::new(key);
            assert_eq!(long.whole(), Some(key.as_bytes()));
            assert!(long.name().len() <= 255 && long.name() != key.as_bytes());
        }
    }
}
