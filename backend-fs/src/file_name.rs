//! The file name of a lock.

use tenure_core::Limits;

/// What follows the name of every record file.
const EXTENSION: &str = ".lock";
const LONGEST: usize = 200;

/// Upper case is left out, so that file systems which fold case keep names apart; `:` and `=` are
/// left out, so that no name is one that [`of`] writes by itself.
const LIMITS: Limits =
    Limits::new(LONGEST, |byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_~".contains(&byte));

/// The name of the record file of a key: the key with `=` for `:` if it is short and plain, or a
/// readable part and a digest. Different keys have different names, even where case is folded.
pub(crate) fn of(key: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.:".contains(&byte);
    if !key.starts_with('.') && key.len() <= LONGEST && key.bytes().all(plain) {
        return key.replace(':', "=") + EXTENSION;
    }
    LIMITS.fit(key).as_str().to_owned() + EXTENSION
}

/// Whether a name may be that of a record file.
pub(crate) fn is_record(name: &str) -> bool {
    name.len() > EXTENSION.len() && name.ends_with(EXTENSION) && !name.starts_with('.')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn plain_keys_stay_readable() {
        assert_eq!(of("lock:nightly-report.v2"), "lock=nightly-report.v2.lock");
        assert!(of("lock:Nightly").starts_with("lock--ightly~"));
        assert!(of("..").starts_with("--~") && of("a/b").starts_with("a-b~"));
    }

    proptest! {
        #[test]
        fn different_keys_have_different_safe_names(
            left in "[a-cA-C:=~./ -]{1,12}|[a:]{190,210}", right in "[a-cA-C:=~./ -]{1,12}|[a:]{190,210}",
        ) {
            let (one, other) = (of(&left), of(&right));
            prop_assert_eq!(left == right, one.to_lowercase() == other.to_lowercase());
            prop_assert!(one.len() <= 255 && is_record(&one) && !one.contains('/'));
        }
    }
}
