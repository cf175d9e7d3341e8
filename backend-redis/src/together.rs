//! Which options go together, and why others do not.

use tenure_core::{Error, Result};

/// What a store is made of, as far as one part can exclude another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Fair,
    Replicas,
    Guard,
    Channel,
    Plain,
    Django,
    /// One server.
    One,
    /// One server, on the pool of a program.
    #[cfg(any(test, feature = "r2d2_redis"))]
    Pool,
    Cluster,
    Sentinels,
    Quorum,
}

use Part::{Cluster, Django, Fair, Guard, Quorum, Replicas, Sentinels};

/// The pairs that cannot keep what both promise.
const REFUSED: &[(Part, Part, &str)] = &[
    (
        Fair,
        Replicas,
        "fair() hands a lock on in the step that releases it, and no replica is waited for; leave out fair() or \
         replicas()",
    ),
    (
        Fair,
        Django,
        "fair() hands locks on among users of this library; leave it out, or the profile of Django's caches",
    ),
    (
        Fair,
        Quorum,
        "the servers of a quorum know nothing of each other, and each would hand a lock on to another; leave out \
         fair()",
    ),
    (Replicas, Quorum, "a replica of one server is no member of a quorum; leave out replicas()"),
    (
        Guard,
        Cluster,
        "restart_guard() has one key for all locks, which a cluster has no place for; leave it out, and give the \
         nodes `appendonly yes` and `appendfsync always`",
    ),
    (
        Guard,
        Sentinels,
        "restart_guard() keeps a new master closed, and a master that was cut off goes on granting meanwhile; leave \
         it out, and compare fences where the locks take effect",
    ),
];

/// Whether parts go together.
///
/// # Errors
///
/// `Misconfigured`, with the reason.
pub(crate) fn check(parts: &[Part]) -> Result<()> {
    let refused = |(one, other, _): &&(Part, Part, &str)| parts.contains(one) && parts.contains(other);
    match REFUSED.iter().find(refused) {
        Some((_, _, why)) => Err(Error::misconfigured(*why)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;
    use std::{env, fs};

    use super::*;
    use crate::choice::Choice;
    use crate::{Profile, Quorum, QuorumBuilder, Redis, Wake};

    /// How a store of these servers is called, and a URL of one.
    const SERVERS: [(Part, &str, Option<&str>); 5] = [
        (Part::One, "one server", Some("redis://h")),
        (Part::Pool, "a pool", None),
        (Part::Cluster, "cluster", Some("redis+cluster://h,i")),
        (Part::Sentinels, "sentinels", Some("redis+sentinel://h,i/m")),
        (Part::Quorum, "quorum", Some("redis+quorum://h,i,j")),
    ];

    /// How an option is called, and how a URL says it.
    const OPTIONS: [(Part, &str, Option<&str>); 6] = [
        (Part::Fair, "`fair()`", Some("fair=1")),
        (Part::Replicas, "`replicas()`", None),
        (Part::Guard, "`restart_guard()`", Some("guard=1")),
        (Part::Channel, "`Wake::Channel`", Some("wake=channel")),
        (Part::Plain, "`Profile::Plain`", Some("profile=plain")),
        (Part::Django, "`Profile::Django`", Some("profile=django")),
    ];

    const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/together.md");

    fn chosen(choice: Choice, option: Part) -> Choice {
        match option {
            Part::Fair => Choice { fair: Some(true), ..choice },
            Part::Replicas => {
                let acks = crate::acks::Acks { replicas: 1, within: std::time::Duration::from_millis(100) };
                Choice { acks: Some(acks), ..choice }
            }
            Part::Guard => Choice { guard: Some(true), ..choice },
            Part::Channel => Choice { wake: Some(Wake::Channel), ..choice },
            Part::Plain => Choice { profile: Some(Profile::Plain), ..choice },
            Part::Django => Choice { profile: Some(Profile::django("", 1)), ..choice },
            _ => choice,
        }
    }

    /// Why servers with options are refused, if they are.
    fn refusal(servers: Part, options: &[Part]) -> Option<String> {
        let choice = options.iter().fold(Choice::default(), |choice, option| chosen(choice, *option));
        choice.with(servers).err().map(|error| error.to_string())
    }

    fn page() -> String {
        let mut page = String::new();
        let mut notes: Vec<String> = Vec::new();
        let names = SERVERS.iter().chain(&OPTIONS[1..]).map(|(_, name, _)| format!(" {name} |"));
        writeln!(page, "| |{}", names.collect::<String>()).expect("a text can be written to");
        writeln!(page, "|---|{}", "---|".repeat(SERVERS.len() + OPTIONS.len() - 1)).expect("so it can");
        for (row, (option, name, _)) in OPTIONS.iter().enumerate() {
            let mut cell = |refusal: Option<String>| match refusal {
                None => " yes |".to_owned(),
                Some(why) => {
                    let place = notes.iter().position(|note| *note == why).unwrap_or_else(|| {
                        notes.push(why);
                        notes.len() - 1
                    });
                    format!(" ({}) |", place + 1)
                }
            };
            let mut cells: String =
                SERVERS.iter().map(|(servers, ..)| cell(refusal(*servers, &[*option]))).collect();
            for (column, (other, ..)) in OPTIONS.iter().enumerate().skip(1) {
                let is_one = column <= row || (*option, *other) == (Part::Plain, Part::Django);
                cells += &if is_one { " |".to_owned() } else { cell(refusal(Part::One, &[*option, *other])) };
            }
            writeln!(page, "| {name} |{cells}").expect("a text can be written to");
        }
        page.push('\n');
        for (number, note) in notes.iter().enumerate() {
            writeln!(page, "{}. {note}", number + 1).expect("a text can be written to");
        }
        page
    }

    #[test]
    fn the_page_says_of_every_pair_whether_it_goes_together_and_why_not() {
        let page = page();
        if env::var_os("TENURE_OPTIONS_BLESS").is_some() {
            fs::write(PAGE, &page).unwrap();
        }
        assert_eq!(fs::read_to_string(PAGE).unwrap(), page, "run it with TENURE_OPTIONS_BLESS=1, and look");
    }

    #[test]
    fn urls_and_builders_refuse_what_the_page_does() {
        let opened = |url: &str| match url.starts_with("redis+quorum:") {
            true => Quorum::url(url).and_then(QuorumBuilder::quorum).map(drop),
            false => Redis::builder(url).plan().map(drop),
        };
        for (servers, _, url) in SERVERS {
            let Some(url) = url else { continue };
            for (place, (one, _, said)) in OPTIONS.iter().enumerate() {
                for (other, _, other_said) in &OPTIONS[place..] {
                    let (Some(said), Some(other_said)) = (said, other_said) else { continue };
                    let both = match (one == other, (*one, *other) == (Part::Plain, Part::Django)) {
                        (_, true) => continue,
                        (true, _) => (*said).to_owned(),
                        (false, _) => format!("{said}&{other_said}"),
                    };
                    let url = format!("{url}?{both}");
                    let (error, expected) = (opened(&url).err(), refusal(servers, &[*one, *other]));
                    assert!(error.as_ref().is_none_or(Error::is_misconfigured), "{url}: {error:?}");
                    let told = error.map(|error| error.to_string());
                    let same = match (&told, &expected) {
                        (Some(told), Some(expected)) => told.ends_with(expected),
                        (told, expected) => told.is_none() && expected.is_none(),
                    };
                    assert!(same, "{url}: {told:?} and not {expected:?}");
                }
            }
        }
        let acknowledged = |url: &str| Redis::builder(url).replicas(1, std::time::Duration::from_millis(100));
        assert!(acknowledged("redis://h").plan().is_ok());
        assert!(acknowledged("redis://h").fair().plan().is_err_and(|error| error.is_misconfigured()));
        let guarded = Redis::builder("redis+sentinel://h/m").restart_guard().plan();
        assert!(guarded.is_err_and(|error| error.is_misconfigured()));
    }
}
