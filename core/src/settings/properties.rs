//! Settings from any text: read, or refused with the name of what is wrong.

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const FIELDS: [&str; 6] = ["prefix", "sleep", "release_on_drop", "lease", "max_ttl", "recheck"];

/// What people write, and what they should not.
fn texts() -> impl Strategy<Value = String> {
    let number = prop_oneof![
        Just(0_u64),
        Just(1),
        Just(u64::MAX),
        Just(u64::MAX / 31_557_600),
        0..100_000_u64,
        any::<u64>(),
    ];
    let unit = prop_oneof![
        "ns|us|µs|ms|s|sec|m|min|h|hours|d|days|w|weeks|M|months|y|years",
        Just(String::new()),
        "[a-zA-Zµ]{0,3}"
    ];
    let durations = vec((number, unit, "[ \t]?"), 1..4).prop_map(|parts| {
        parts.iter().map(|(number, unit, space)| format!("{number}{space}{unit}")).collect()
    });
    prop_oneof![
        any::<String>(),
        durations,
        "[1-9][0-9]{0,4}(ms|s)",
        "true|false|1|0| true|TRUE|yes",
        "[-+.0-9e]{1,12}(s|ms)?"
    ]
}

fn values() -> impl Strategy<Value = Value> {
    prop_oneof![
        4 => texts().prop_map(Value::from),
        1 => Just(Value::Null),
        1 => any::<bool>().prop_map(Value::from),
        1 => any::<i64>().prop_map(Value::from),
        1 => any::<f64>().prop_map(Value::from),
        1 => vec(any::<u8>(), 0..3).prop_map(Value::from),
        1 => texts().prop_map(|text| json!({ "secs": 1, "nanos": text })),
    ]
}

fn between(least: Duration, most: Duration) -> impl Strategy<Value = Duration> {
    let nanos =
        u64::try_from(least.as_nanos()).unwrap_or(0)..=u64::try_from(most.as_nanos()).unwrap_or(u64::MAX);
    prop_oneof![nanos.prop_map(Duration::from_nanos), Just(least), Just(most)]
}

fn settings() -> impl Strategy<Value = Settings> {
    let millis = Duration::from_millis;
    let leases = between(Ttl::MIN.get(), Ttl::MAX.get())
        .prop_flat_map(|max_ttl| (between(Ttl::MIN.get(), max_ttl), Just(max_ttl)));
    let rest = (between(millis(1), millis(60_000)), any::<bool>(), between(millis(10), millis(3_600_000)));
    // One of the longest length may end in a character of any width.
    let longest = any::<char>().prop_map(|last| "x".repeat(256 - last.len_utf8()) + &last.to_string());
    let prefix =
        prop_oneof![any::<String>().prop_filter("it is too long", |text| text.len() <= 256), longest];
    (prefix, leases, rest).prop_map(|(prefix, (lease, max_ttl), (sleep, release_on_drop, recheck))| {
        let raw = Raw { prefix: prefix.into(), sleep, release_on_drop, lease, max_ttl, recheck };
        raw.check().expect("they are within their ranges")
    })
}

/// The value of a setting as the environment has it.
fn variable(settings: &Settings, name: &str) -> Option<String> {
    let duration = |duration: Duration| humantime::format_duration(duration).to_string();
    Some(match name {
        "TENURE_PREFIX" => settings.prefix().to_owned(),
        "TENURE_SLEEP" => duration(settings.sleep()),
        "TENURE_RELEASE_ON_DROP" => settings.release_on_drop().to_string(),
        "TENURE_LEASE" => duration(settings.lease().get()),
        "TENURE_MAX_TTL" => duration(settings.max_ttl().get()),
        "TENURE_RECHECK" => duration(settings.recheck()),
        _ => return None,
    })
}

proptest! {
    #[test]
    fn a_variable_is_read_or_refused_by_its_name(which in 0..FIELDS.len(), text in texts()) {
        let field = FIELDS[which];
        let name = format!("TENURE_{}", field.to_uppercase());
        let read = Settings::from_vars(|asked| Ok((asked == name).then(|| text.clone())));
        if let Err(error) = read {
            let message = error.to_string();
            prop_assert!(error.is_misconfigured());
            prop_assert!(message.contains(&name) || message.contains(field), "{name} = {text:?}: {message}");
        }
    }

    #[test]
    fn a_field_is_read_or_refused_by_its_name(which in 0..FIELDS.len(), value in values()) {
        let field = FIELDS[which];
        let text = json!({ field: value }).to_string();
        if let Err(error) = serde_json::from_str::<Settings>(&text) {
            prop_assert!(error.to_string().contains(field), "{text}: {error}");
        }
    }

    #[test]
    fn a_field_that_is_not_there_is_refused_by_its_name(name in "\\PC{1,12}", value in values()) {
        prop_assume!(!FIELDS.contains(&name.as_str()));
        let error = serde_json::from_value::<Settings>(json!({ name.as_str(): value }));
        prop_assert!(error.is_err_and(|error| error.to_string().contains(&name)));
    }

    #[test]
    fn no_document_makes_it_panic(text in prop_oneof![any::<String>(), "[\\[{\"a-z0-9:,}\\] ]{0,60}"]) {
        let _ = serde_json::from_str::<Settings>(&text);
    }

    #[test]
    fn settings_survive_a_document_and_the_environment(settings in settings()) {
        let text = serde_json::to_string(&settings).expect("they are plain text");
        let read = serde_json::from_str::<Settings>(&text);
        prop_assert!(read.is_ok_and(|read| read == settings), "{text}");
        let read = Settings::from_vars(|name| Ok(variable(&settings, name)));
        prop_assert_eq!(read.ok(), Some(settings));
    }

    #[test]
    fn no_setter_takes_what_is_out_of_its_range(
        settings in settings(), duration in prop_oneof![any::<Duration>(), (0..100_000_u64).prop_map(Duration::from_millis)],
        prefix in texts(), copies in 1..80_usize, long in 250..260_usize,
    ) {
        let within = |least: u64, most| (Duration::from_millis(least)..=most).contains(&duration);
        let ttls = within(10, Ttl::MAX.get());
        let (lease, max_ttl) = (settings.lease().get(), settings.max_ttl().get());
        let seconds = Duration::from_secs;
        prop_assert_eq!(settings.clone().with_sleep(duration).is_ok(), within(1, seconds(60)));
        prop_assert_eq!(settings.clone().with_recheck(duration).is_ok(), within(10, seconds(3600)));
        prop_assert_eq!(settings.clone().with_lease(duration).is_ok(), within(10, max_ttl));
        prop_assert_eq!(settings.clone().with_max_ttl(duration).is_ok(), ttls && duration >= lease);
        prop_assert_eq!(Ttl::new(duration).is_ok(), ttls);
        let prefix = prefix.repeat(copies);
        prop_assert_eq!(settings.clone().with_prefix(prefix.as_str()).is_ok(), prefix.len() <= 256);
        prop_assert_eq!(settings.with_prefix("x".repeat(long)).is_ok(), long <= 256);
    }
}
