//! What is risky about a database as it is set up, read from what it says of itself.

use tenure_core::Advice;

use crate::backend::Inner;
use crate::dialect::Kind;

/// What is asked; each answer is a word. What may not be asked is not answered.
pub(crate) fn questions(kind: Kind, table: &str) -> Vec<String> {
    let texts: &[&str] = match kind {
        Kind::Sqlite => &["SELECT journal_mode AS word FROM pragma_journal_mode"],
        Kind::Postgres => &[
            "SELECT current_setting('fsync') AS word",
            "SELECT current_setting('synchronous_commit') AS word",
            "SELECT relpersistence::text AS word FROM pg_class WHERE oid = '{table}'::regclass",
            "SELECT pg_is_in_recovery()::text AS word",
            "SELECT CASE WHEN EXISTS (SELECT 1 FROM pg_stat_replication) THEN 'true' ELSE 'false' END AS word",
            "SELECT CASE WHEN current_setting('tenure.session', true) <> '' THEN 'alone' ELSE 'shared' END AS word",
        ],
        Kind::MariaDb | Kind::MySql => &[
            "SELECT CAST(@@innodb_flush_log_at_trx_commit AS CHAR) AS word",
            "SELECT CAST(@@global.read_only AS CHAR) AS word",
            "SELECT ENGINE AS word FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() \
             AND TABLE_NAME = '{table}'",
            "SELECT VARIABLE_VALUE AS word FROM information_schema.GLOBAL_VARIABLES WHERE VARIABLE_NAME = 'WSREP_ON'",
        ],
    };
    texts.iter().map(|text| text.replace("{table}", table)).collect()
}

pub(crate) fn advice(store: &Inner) -> Vec<Advice> {
    let kind = store.dialect.kind;
    let asked = questions(kind, &store.table.full()).into_iter().map(|question| {
        let words = store.pool.ask(|link| link.words(&question)).ok()?.value;
        words.into_iter().next()?.word
    });
    let words: Vec<Option<String>> = asked.collect();
    let words: Vec<&str> = words.iter().map(|word| word.as_deref().unwrap_or_default()).collect();
    judge(kind, &words, store.guard)
}

/// What the answers mean for locks.
pub(crate) fn judge(kind: Kind, words: &[&str], is_guarded: bool) -> Vec<Advice> {
    let mut advice = Vec::new();
    let mut warn = |risk: &str, remedy: &str| advice.push(Advice::new(risk, remedy));
    let forgets = "compare fences where the locks take effect, or choose restart_guard() (?guard=1)";
    match (kind, words) {
        (Kind::Sqlite, [journal]) if *journal != "wal" => warn(
            "the file is not in WAL mode, so that each grant waits for the disk and keeps readers out",
            "run PRAGMA journal_mode = WAL, or use a file of its own for locks",
        ),
        (Kind::Postgres, [fsync, commit, table, replica, replicas, session]) => {
            if *fsync == "off" {
                warn(
                    "the server does not write to the disk what it says it has (fsync = off)",
                    "set fsync = on",
                );
            }
            if *commit == "off" && !is_guarded {
                warn(
                    "the server forgets the latest locks when it crashes (synchronous_commit = off)",
                    forgets,
                );
            }
            if *table == "u" && !is_guarded {
                warn("the server forgets all locks when it crashes (the table is UNLOGGED)", forgets);
            }
            if *replica == "true" {
                warn("this server is a replica, which takes no locks", "name its primary");
            }
            if *replicas == "true" && !matches!(*commit, "on" | "remote_apply") {
                warn("a fail-over to a replica can lose the latest locks and grant them again", forgets);
            }
            if *session == "shared" {
                warn(
                    "a pooler stands before the server, through which nobody can listen, so waiters ask now and then",
                    "give the URL of the server itself",
                );
            }
        }
        (Kind::MariaDb | Kind::MySql, [flush, read_only, engine, cluster]) => {
            if !matches!(*flush, "1" | "3" | "") && !is_guarded {
                warn(
                    "the server forgets the latest locks when it or its machine crashes \
                     (innodb_flush_log_at_trx_commit is not 1)",
                    forgets,
                );
            }
            if !matches!(*read_only, "0" | "OFF" | "") {
                warn("this server is read-only, as a replica is, and takes no locks", "name its primary");
            }
            if !engine.is_empty() && !engine.eq_ignore_ascii_case("InnoDB") {
                warn(
                    "the table is not in InnoDB, so that a crash can damage it",
                    "ALTER TABLE .. ENGINE = InnoDB",
                );
            }
            if *cluster == "ON" {
                warn(
                    "the nodes of this cluster do not wait for each other's named locks, so waiters of other nodes ask \
                     now and then",
                    "let all that share locks use one node",
                );
            }
        }
        _ => {}
    }
    advice
}

#[cfg(test)]
mod tests {
    use super::*;

    fn risks(kind: Kind, words: &[&str]) -> Vec<String> {
        judge(kind, words, false).iter().map(|advice| advice.risk().to_owned()).collect()
    }

    #[test]
    fn a_safe_database_gets_no_advice() {
        assert!(risks(Kind::Sqlite, &["wal"]).is_empty());
        assert!(risks(Kind::Postgres, &["on", "on", "p", "false", "false", "alone"]).is_empty());
        assert!(risks(Kind::MariaDb, &["1", "0", "InnoDB", "OFF"]).is_empty());
        assert!(risks(Kind::MySql, &["1", "0", "InnoDB", ""]).is_empty());
    }

    #[test]
    fn every_risk_is_told() {
        for (kind, words, word) in [
            (Kind::Sqlite, &["delete"][..], "WAL"),
            (Kind::Postgres, &["off", "on", "p", "false", "false", "alone"], "fsync"),
            (Kind::Postgres, &["on", "off", "p", "false", "false", "alone"], "synchronous_commit"),
            (Kind::Postgres, &["on", "on", "u", "false", "false", "alone"], "UNLOGGED"),
            (Kind::Postgres, &["on", "on", "p", "true", "false", "alone"], "replica"),
            (Kind::Postgres, &["on", "local", "p", "false", "true", "alone"], "fail-over"),
            (Kind::Postgres, &["on", "on", "p", "false", "false", "shared"], "pooler"),
            (Kind::MariaDb, &["2", "0", "InnoDB", "OFF"], "crashes"),
            (Kind::MariaDb, &["1", "1", "InnoDB", "OFF"], "read-only"),
            (Kind::MySql, &["1", "0", "MyISAM", ""], "InnoDB"),
            (Kind::MariaDb, &["1", "0", "InnoDB", "ON"], "cluster"),
        ] {
            assert!(matches!(&risks(kind, words)[..], [risk] if risk.contains(word)), "{kind:?} {words:?}");
        }
    }

    #[test]
    fn a_guard_covers_what_a_crash_forgets() {
        assert!(judge(Kind::Postgres, &["on", "off", "u", "false", "false", "alone"], true).is_empty());
        assert!(judge(Kind::MariaDb, &["2", "0", "InnoDB", "OFF"], true).is_empty());
    }
}
