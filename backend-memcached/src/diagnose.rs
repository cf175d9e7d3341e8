//! What is risky about servers as they are set up, read from what they say of themselves.

use tenure_core::{Advice, Settings};

use crate::config::Limits;
use crate::dialect::Dialect;
use crate::stats::{self, Stats};

/// What all servers say, each risk once.
pub(crate) fn all(dialect: &Dialect, settings: &Settings, limits: Limits) -> Vec<Advice> {
    let mut all = Vec::new();
    for server in &dialect.servers {
        let told = stats::stats(server, "", limits)
            .and_then(|stats| Ok(stats.and(stats::stats(server, "settings", limits)?)));
        let advice = match told {
            Ok(stats) => advice(&stats, dialect, settings),
            Err(error) => vec![Advice::new(
                format!("{server} does not answer: {error}"),
                "see whether it runs; locks that lie there are out of reach until it does",
            )],
        };
        for advice in advice {
            if !all.contains(&advice) {
                all.push(advice);
            }
        }
    }
    all
}

/// What one server's answers mean for locks.
fn advice(stats: &Stats, dialect: &Dialect, settings: &Settings) -> Vec<Advice> {
    let mut advice = Vec::new();
    let mut warn = |risk: String, remedy: &str| advice.push(Advice::new(risk, remedy));
    if stats.says("cas_enabled") == Some("no") {
        warn("the server does not number changes, and takes no locks".into(), "start memcached without -C");
    }
    let evictions = stats.number("evictions");
    if stats.says("evictions") != Some("off") {
        warn(
            format!(
                "the server evicts what it is full of, held locks among them; {evictions} values up to now"
            ),
            "give locks a memcached of their own that is started with -M, which refuses instead",
        );
    }
    let (used, most) = (stats.number("bytes"), stats.number("limit_maxbytes"));
    if most > 0 && used > most / 10 * 9 {
        warn(
            format!("the server is nearly full, {used} of {most} bytes"),
            "give it more memory (-m), or give locks a server of their own; a full one grants and renews nothing",
        );
    }
    if stats.number("listen_disabled_num") > 0 {
        warn("the server had to refuse connections".into(), "raise its limit of connections (-c)");
    }
    if dialect.longest.is_none() {
        warn(
            format!(
                "the server forgets all locks when it is started anew or flushed, and grants them again within {:?}",
                settings.max_ttl().get()
            ),
            "leave the quarantine on, or compare fences where the locks take effect",
        );
    }
    advice
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::placement::Placement;
    use crate::record::Form;
    use std::time::Duration;

    fn risks(stats: &str, longest: Option<Duration>) -> Vec<String> {
        let dialect = Dialect::new(Form::Own, Placement::default(), vec!["h:1".into()], longest);
        let advice = advice(&Stats::read(stats), &dialect, &Settings::default());
        advice.iter().map(|advice| advice.risk().to_owned()).collect()
    }

    const SAFE: &str = "STAT limit_maxbytes 1000\nSTAT bytes 100\nSTAT cas_enabled yes\nSTAT evictions off\n";

    #[test]
    fn a_safe_server_gets_no_advice() {
        assert_eq!(risks(SAFE, Some(Duration::from_secs(1))), Vec::<String>::new());
    }

    #[test]
    fn every_risk_is_told() {
        for (more, word) in [
            ("STAT cas_enabled no", "number"),
            ("STAT evictions on", "evicts"),
            ("STAT bytes 950", "full"),
            ("STAT listen_disabled_num 1", "connections"),
        ] {
            let told = risks(&format!("{SAFE}{more}\n"), Some(Duration::from_secs(1)));
            assert!(matches!(&told[..], [risk] if risk.contains(word)), "{more}: {told:?}");
        }
        assert!(matches!(&risks(SAFE, None)[..], [risk] if risk.contains("forgets")));
    }
}
