//! What is risky about a server as it is set up, read from what it says of itself.

use tenure_core::{Advice, Settings};

use crate::resp::Reply;

/// What is asked; the second one is no harm if it may not be.
pub(crate) const QUESTIONS: [&[&[u8]]; 2] = [&[b"INFO"], &[b"CONFIG", b"GET", b"appendfsync"]];

/// What the answers mean for locks.
pub(crate) fn advice(answers: &[Reply], settings: &Settings) -> Vec<Advice> {
    let Some(text) = answers.first().and_then(Reply::text).and_then(|text| std::str::from_utf8(text).ok())
    else {
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
            "set appendonly yes and appendfsync always, or choose restart_guard(), or compare fences where the \
             locks take effect",
        );
    }
    let fsync = answers.get(1).and_then(Reply::list).and_then(|pair| pair.get(1)).and_then(Reply::text);
    if says("aof_enabled") == Some("1")
        && let Some(fsync @ (b"everysec" | b"no")) = fsync
    {
        warn(
            &format!(
                "the server answers before it has saved (appendfsync {}), and forgets the locks of the last {} \
                 when the machine crashes",
                String::from_utf8_lossy(fsync),
                if fsync == b"no" { "half minute" } else { "second" }
            ),
            "set appendfsync always, or choose restart_guard(), or compare fences where the locks take effect",
        );
    }
    if says("aof_last_write_status").is_some_and(|status| status != "ok") {
        warn("the server cannot write its append-only file, and refuses locks", "see its log, and its disk");
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
        let advice = advice(&[Reply::Text(info.into())], &Settings::default());
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
            ("aof_last_write_status:err\r\n", "cannot write"),
            ("role:slave\r\n", "replica"),
            ("connected_slaves:2\r\n", "fail-over"),
        ] {
            assert!(matches!(&risks(info)[..], [risk] if risk.contains(word)), "{info}: {:?}", risks(info));
        }
        assert!(risks("maxmemory:0\r\nmaxmemory_policy:allkeys-lru\r\n").is_empty());
        assert_eq!(advice(&[Reply::Error("NOPERM".into())], &Settings::default()).len(), 1);
        assert_eq!(advice(&[], &Settings::default()).len(), 1);
    }

    #[test]
    fn a_server_that_saves_now_and_then_is_told_from_one_that_always_does() {
        let told = |fsync: &[u8]| {
            let pair = Reply::List(vec![Reply::Text(b"appendfsync".to_vec()), Reply::Text(fsync.to_vec())]);
            advice(&[Reply::Text(b"aof_enabled:1\r\n".to_vec()), pair], &Settings::default()).len()
        };
        assert_eq!([told(b"always"), told(b"everysec"), told(b"no")], [0, 1, 1]);
    }
}
