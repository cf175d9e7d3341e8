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

    #[test]
    fn plain_keys_stay_readable() {
        assert_eq!(of("lock:nightly-report.v2"), "lock=nightly-report.v2.lock");
        assert!(of("lock:Nightly").starts_with("lock--ightly~"));
        assert!(of("..").starts_with("--~") && of("a/b").starts_with("a-b~"));
    }
}

#[cfg(test)]
mod properties {
    use super::*;
    use proptest::prelude::*;

    /// Keys of which many differ in little, and those that a folder could take for something else.
    fn keys() -> impl Strategy<Value = String> {
        prop_oneof![
            "[a-c]{1,3}|[a-c:=.]{1,6}",
            "[a-cA-C:=~./ -]{1,12}",
            "[a:]{190,270}",
            "[.]{1,3}|(\\.\\./){1,3}[a-z]{0,3}|/[a-z/]{0,9}|[a-z]{1,3}[. ]{1,3}",
            "[a-z\0\n]{1,6}|[a-z]{1,3}(\\.lock|\\.LOCK|=|~){1,2}|\\.floor",
            any::<String>().prop_filter("a key has a name in it", |text| !text.is_empty()),
            (any::<char>(), 1..300_usize).prop_map(|(unit, times)| unit.to_string().repeat(times)),
        ]
    }

    /// A key and the same, another, or one that is nearly the same.
    fn pairs() -> impl Strategy<Value = (String, String)> {
        let near = |key: &String, how: u8| match how {
            0 => key.to_uppercase(),
            1 => key.to_lowercase(),
            2 => format!("{key} "),
            3 => format!("{key}."),
            4 => key.replace(':', "="),
            5 => of(key),
            6 => of(key).trim_end_matches(EXTENSION).to_owned(),
            _ => key.clone(),
        };
        prop_oneof![
            1 => (keys(), keys()),
            3 => (keys(), 0..8_u8).prop_map(move |(key, how)| (key.clone(), near(&key, how)))
        ]
    }

    proptest! {
        #[test]
        fn a_key_has_a_file_name_that_every_file_system_takes(key in keys()) {
            let name = of(&key);
            prop_assert!(name.len() <= 255 && name.is_ascii() && is_record(&name), "{name}");
            prop_assert!(!name.bytes().any(|byte| byte.is_ascii_control() || b"/\\:*?\"<>| ".contains(&byte)));
            prop_assert!(name != "." && name != ".." && !name.starts_with('.') && !name.ends_with('.'));
        }

        #[test]
        fn different_keys_have_different_names_even_where_case_is_folded((left, right) in pairs()) {
            let (one, other) = (of(&left), of(&right));
            prop_assert_eq!(left == right, one.to_lowercase() == other.to_lowercase());
        }
    }
}
