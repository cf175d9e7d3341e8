//! What is risky about a server as it is set up, read from what it says of itself.

use std::time::Duration;

use tenure_core::{Advice, Settings};

use crate::resp::Reply;
use crate::script::{Dialect, Guard};

/// What is asked for the locks of a store, and what the answers mean for them.
pub(crate) struct Checkup {
    longest: Duration,
    /// The guard of these locks, whoever has one.
    key: Vec<u8>,
    is_guarded: bool,
}

impl Checkup {
    pub(crate) fn new(settings: &Settings, dialect: &Dialect) -> Self {
        let longest = settings.max_ttl().get();
        let key = Guard::new(settings.prefix(), longest).key().to_vec();
        Self { longest, key, is_guarded: dialect.guard.is_some() }
    }

    /// What is asked; all but the first are no harm if they may not be.
    pub(crate) fn questions(&self) -> [Vec<&[u8]>; 3] {
        [vec![b"INFO"], vec![b"CONFIG", b"GET", b"appendfsync"], vec![b"GET", &self.key]]
    }

    /// What the answers mean.
    pub(crate) fn advice(&self, answers: &[Reply]) -> Vec<Advice> {
        advice(answers, self)
    }

    /// What the guard's key means: whether all choose it, and whether it is closed.
    fn of_the_guard(&self, answer: &Reply, run: Option<&str>, now: Option<u64>) -> Option<Advice> {
        let written = match answer {
            Reply::Nil => "".into(),
            Reply::Text(text) => String::from_utf8_lossy(text),
            // It may not be asked for, or is elsewhere.
            _ => return None,
        };
        let written = written.split_once(' ');
        if !self.is_guarded {
            return written.map(|_| self.unheeded());
        }
        let Some((opens, _)) = written.filter(|(_, of)| run.is_none_or(|run| run == *of)) else {
            return Some(self.untouched());
        };
        let left = opens.parse::<u64>().ok()?.checked_sub(now?).filter(|left| *left > 0)?;
        Some(Advice::new(
            format!(
                "all locks are closed for another {:?}, since the server was started or lost its data",
                Duration::from_millis(left)
            ),
            "wait: leases from before may still be believed in",
        ))
    }

    fn untouched(&self) -> Advice {
        Advice::new(
            format!(
                "nobody has asked for a lock since the server was started or lost its data, and the first one who \
                 does closes all of them for {:?}",
                self.longest
            ),
            "ask for one now, and wait",
        )
    }

    fn unheeded(&self) -> Advice {
        let key = String::from_utf8_lossy(&self.key);
        Advice::new(
            "others keep these locks closed after a start of the server (restart_guard()), and this store does \
             not heed it",
            format!("choose restart_guard() here too; or nowhere, and then delete the key {key:?}"),
        )
    }
}

fn advice(answers: &[Reply], checkup: &Checkup) -> Vec<Advice> {
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
    // A guard outlives what these forget.
    let forgets = !checkup.is_guarded;
    if forgets && says("aof_enabled") == Some("0") {
        warn(
            &format!(
                "the server forgets the latest locks when it crashes, and may grant them again within {:?}",
                checkup.longest
            ),
            "set appendonly yes and appendfsync always, or choose restart_guard(), or compare fences where the \
             locks take effect",
        );
    }
    let fsync = answers.get(1).and_then(Reply::list).and_then(|pair| pair.get(1)).and_then(Reply::text);
    if forgets
        && says("aof_enabled") == Some("1")
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
    let now = says("server_time_usec").and_then(|now| now.parse::<u64>().ok()).map(|now| now / 1000);
    let guard = answers.get(2).and_then(|guard| checkup.of_the_guard(guard, says("run_id"), now));
    advice.extend(guard);
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

    fn checkup(is_guarded: bool) -> Checkup {
        Checkup { longest: Duration::from_secs(60), key: b"~r:lock:".to_vec(), is_guarded }
    }

    fn risks(info: &str) -> Vec<String> {
        told(false, &[Reply::Text(info.into())])
    }

    fn told(is_guarded: bool, answers: &[Reply]) -> Vec<String> {
        let advice = checkup(is_guarded).advice(answers);
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
        assert_eq!(told(false, &[Reply::Error("NOPERM".into())]).len(), 1);
        assert_eq!(told(false, &[]).len(), 1);
    }

    #[test]
    fn a_server_that_saves_now_and_then_is_told_from_one_that_always_does() {
        let counted = |is_guarded: bool, fsync: &[u8]| {
            let pair = Reply::List(vec![Reply::Text(b"appendfsync".to_vec()), Reply::Text(fsync.to_vec())]);
            told(is_guarded, &[Reply::Text(b"aof_enabled:1\r\n".to_vec()), pair]).len()
        };
        let all: [&[u8]; 3] = [b"always", b"everysec", b"no"];
        assert_eq!(all.map(|fsync| counted(false, fsync)), [0, 1, 1]);
        // What a guard outlives is no risk.
        assert_eq!(all.map(|fsync| counted(true, fsync)), [0, 0, 0]);
    }

    #[test]
    fn a_guard_that_is_closed_or_not_heeded_or_not_begun_is_told() {
        let answers = |info: &str, guard: Reply| {
            [Reply::Text(format!("run_id:b1\r\n{info}").into()), Reply::Nil, guard]
        };
        let at = "server_time_usec:5000000\r\n";
        let key = |written: &str| Reply::Text(written.as_bytes().to_vec());
        for (is_guarded, guard, word) in [
            (true, key("5000 b1"), None),
            (true, key("6500 b1"), Some("closed for another 1.5s")),
            (true, key("1 a0"), Some("closes all of them for 60s")),
            (true, Reply::Nil, Some("closes all of them for 60s")),
            (true, Reply::Error("NOPERM".into()), None),
            (false, key("1 a0"), Some("does not heed it")),
            (false, Reply::Nil, None),
            (false, Reply::Error("MOVED 1 h:1".into()), None),
        ] {
            let risks = told(is_guarded, &answers(at, guard.clone()));
            let is_so = match word {
                None => risks.is_empty(),
                Some(word) => matches!(&risks[..], [risk] if risk.contains(word)),
            };
            assert!(is_so, "{is_guarded} {guard:?}: {risks:?}");
        }
        // A guard covers a server that forgets, and no fail-over.
        assert!(told(true, &[Reply::Text(b"aof_enabled:0\r\n".to_vec())]).is_empty());
        let replicas = told(true, &[Reply::Text(b"connected_slaves:1\r\n".to_vec())]);
        assert!(matches!(&replicas[..], [risk] if risk.contains("fail-over")), "{replicas:?}");
    }
}
