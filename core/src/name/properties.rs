//! Which texts are names, and that what is made of them never meets, over all of unicode.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// Texts of which many differ in little: by case, by a space at the end, by what is escaped.
fn texts() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[a:%3A ~]{0,8}",
        "[a-c~A-C: .]{0,100}",
        "(%3A|%25|:|%|a){0,6}",
        (1..5_usize, "\\PC", "[a-z~. ]?").prop_map(|(long, unit, end)| unit.repeat(long * 40) + &end),
    ]
}

/// A text and another that is the same, or nearly.
fn pairs() -> impl Strategy<Value = (String, String)> {
    let near = (texts(), any::<proptest::sample::Index>(), any::<Option<char>>());
    let near = near.prop_map(|(text, at, other)| {
        let mut letters: Vec<char> = text.chars().collect();
        if !letters.is_empty() {
            let at = at.index(letters.len());
            match other {
                Some(other) => letters[at] = other,
                None => letters[at] = letters[at].to_ascii_uppercase(),
            }
        }
        let other = letters.into_iter().collect();
        (text, other)
    });
    prop_oneof![near, (texts(), texts())]
}

fn limits() -> impl Strategy<Value = Limits> {
    let bytes: [fn(u8) -> bool; 4] = [
        |byte| byte.is_ascii_lowercase() || b"0123456789-:~".contains(&byte),
        |byte| byte.is_ascii_graphic(),
        // Such a store takes any byte but a few, so also those that are not ASCII.
        |byte| !byte.is_ascii_control() && byte != b' ',
        |_| true,
    ];
    (Limits::DIGEST_LEN..300, 0..bytes.len())
        .prop_map(move |(max_len, which)| Limits::new(max_len, bytes[which]))
}

/// What was joined, read back: the rule that makes joining safe, written the other way round.
fn split(name: &Name) -> Vec<String> {
    let segments = name.as_str().split(':');
    segments.map(|segment| segment.replace("%3A", ":").replace("%25", "%")).collect()
}

proptest! {
    #[test]
    fn any_text_but_the_empty_one_is_a_name_byte_for_byte(text in any::<String>()) {
        match Name::new(text.as_str()) {
            Ok(name) => prop_assert!(!text.is_empty() && name.as_str() == text),
            Err(error) => prop_assert!(text.is_empty() && error.is_invalid_name()),
        }
    }

    #[test]
    fn a_name_has_at_most_64_kib_in_whatever_script(unit in any::<char>(), less in 0..3_usize, more: bool) {
        let units = Name::MAX_LEN / unit.len_utf8();
        let text = unit.to_string().repeat(if more { units + 1 + less } else { units - less });
        let right = text.len() <= Name::MAX_LEN;
        prop_assert_eq!(Name::new(text.as_str()).is_ok(), right);
        prop_assert_eq!((&text).into_name().is_ok(), right);
        prop_assert_eq!(Name::join([&text]).is_ok(), right && unit != ':' && unit != '%');
        // As a key it is longer than a name may be; only the name counts.
        prop_assert_eq!(text.as_str().into_key("lock:").is_ok(), right);
    }

    #[test]
    fn a_key_is_the_prefix_and_the_name_by_every_way(prefix in any::<String>(), text in any::<String>()) {
        let key = [prefix.as_str(), text.as_str()].concat();
        let expected = (!text.is_empty()).then(|| key.into_boxed_str());
        prop_assert_eq!(text.as_str().into_key(&prefix).ok(), expected.clone());
        prop_assert_eq!(Name::new(text.as_str()).into_key(&prefix).ok(), expected.clone());
        prop_assert_eq!(text.into_key(&prefix).ok(), expected);
    }

    #[test]
    fn joined_segments_can_be_told_from_the_name(segments in vec(texts(), 0..5)) {
        match Name::join(&segments) {
            Ok(name) => prop_assert_eq!(split(&name), segments),
            Err(_) => prop_assert!(segments.iter().all(String::is_empty) && segments.len() < 2),
        }
    }

    #[test]
    fn different_segments_make_different_names(
        left in vec("[a:%3A ]{0,4}", 0..4), right in vec("[a:%3A ]{0,4}", 0..4),
    ) {
        let (one, other) = (Name::join(&left).ok(), Name::join(&right).ok());
        prop_assume!(one.is_some() || other.is_some());
        prop_assert_eq!(left == right, one == other);
    }

    #[test]
    fn fitted_keys_obey_the_store(limits in limits(), key in texts()) {
        let fitted = limits.fit(&key);
        prop_assert!(fitted.as_str().len() <= limits.max_len);
        prop_assert!(fitted.as_str().bytes().all(limits.allowed));
        prop_assert_eq!(fitted.is_shortened(), fitted.as_str() != key);
    }

    #[test]
    fn a_plain_key_fits_up_to_the_longest_length(limits in limits(), less in 0..3_usize, more in 1..3_usize) {
        prop_assert!(!limits.fit(&"a".repeat(limits.max_len - less)).is_shortened());
        prop_assert!(limits.fit(&"a".repeat(limits.max_len + more)).is_shortened());
    }

    #[test]
    fn fitted_keys_never_meet_nor_imitate_each_other(limits in limits(), (left, right) in pairs()) {
        let (one, other) = (limits.fit(&left), limits.fit(&right));
        prop_assert_eq!(left == right, one.as_str() == other.as_str());
        prop_assert_eq!(left == right, one.digest() == other.digest());
        // A key that looks like a fitted one is itself shortened.
        for fitted in [one, other] {
            let again = limits.fit(fitted.as_str());
            prop_assert_eq!(again.is_shortened(), fitted.is_shortened());
            prop_assert_eq!(again.as_str() == fitted.as_str(), !fitted.is_shortened());
        }
    }
}
