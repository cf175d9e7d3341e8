//! What is risky about a server as it is set up, read from what it says of itself.

use tenure_core::{Advice, Settings};

use crate::resp::Reply;

/// What is asked.
pub(crate) const QUESTION: &[&[u8]] = &[b"INFO"];

/// What the answer means for locks.
pub(crate) fn advice(reply: &Reply, settings: &Settings) -> Vec<Advice> {
    let Some(text) = reply.text().and_then(|text| std::str::from_utf8(text).ok()) else {
        return vec![Advice::new(
            "the server does not say how it is set up",
            "allow the user the command INFO, or see its configuration",
        )];
    };
    let says = |field: &str| {
        text.lines()
            .find_map(|line| line.split_once(':').filter(|(name, _)| *name == field))
            .map(|(_, value)| value.trim())
    };
    let mut advice = Vec::new();
    let mut warn = |risk: &str, remedy: &str| advice.push(Advice::new(risk, remedy));
    let policy = says("maxmemory_policy").unwrap_or("noeviction");
    if policy != "noeviction" && says("maxmemory").is_some_and(|limit| limit != "0") {
        warn(
            &format!(
                "the server evicts keys when it is full (maxmemory-policy {policy}), held locks among them"
            ),
            "set maxmemory-policy noeviction, or give locks a server of their own",
        );
    }
    if says("aof_enabled") == Some("0") {
        warn(
            &format!(
                "the server forgets the latest locks when it crashes, and may grant them again within {:?}",
                settings.max_ttl().get()
            ),
            "set appendonly yes and appendfsync always, or compare fences where the locks take effect",
        );
    }
    if says("role") == Some("slave") {
        warn("this server is a replica, which takes no locks", "name its master");
    }
    if says("connected_slaves").is_some_and(|replicas| replicas != "0") {
        warn(
            "a fail-over to a replica can lose the latest locks and grant them again",
            "compare fences where the locks take effect",
        );
    }
    advice
}

/// What is risky about several servers, each thing once.
pub(crate) fn once(all: impl Iterator<Item = Vec<Advice>>) -> Vec<Advice> {
    let mut advice = Vec::new();
    for each in all.flatten() {
        if !advice.contains(&each) {
            advice.push(each);
        }
    }
    advice
}

#[cfg(test)]
mod tests {
    use super::*;

    fn risks(info: &str) -> Vec<String> {
        let advice = advice(&Reply::Text(info.into()), &Settings::default());
        advice.iter().map(|advice| advice.risk().to_owned()).collect()
    }

    #[test]
    fn a_safe_server_gets_no_advice() {
        let info = "maxmemory:100\r\nmaxmemory_policy:noeviction\r\naof_enabled:1\r\nrole:master\r\nconnected_slaves:0\r\n";
        assert!(risks(info).is_empty(), "{:?}", risks(info));
    }

    #[test]
    fn every_risk_is_told() {
        for (info, word) in [
            ("maxmemory:100\r\nmaxmemory_policy:allkeys-lru\r\n", "evicts"),
            ("aof_enabled:0\r\n", "crashes"),
            ("role:slave\r\n", "replica"),
            ("connected_slaves:2\r\n", "fail-over"),
        ] {
            assert!(matches!(&risks(info)[..], [risk] if risk.contains(word)), "{info}: {:?}", risks(info));
        }
        assert!(risks("maxmemory:0\r\nmaxmemory_policy:allkeys-lru\r\n").is_empty());
        assert_eq!(advice(&Reply::Error("NOPERM".into()), &Settings::default()).len(), 1);
    }
}
