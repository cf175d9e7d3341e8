//! A command that does what a script does otherwise, where the server has one.
//!
//! Redis 8.4 and Valkey 9.0 can compare and delete in one command, each by a name of its own. It is a
//! release as most are: of a lock that is held alone, by its owner, to be free at once. It spares the
//! server an interpreter, and no round trip. What it leaves out, the script does: when it did not delete,
//! the script is called as well, and tells why. It is not used where a release has to publish or to hand
//! on. Nothing of the kind can stand in for the other scripts: `SET .. IFEQ` renews no fence, and tells
//! neither a broken lock from a lost one nor a holder's fence.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tenure_core::{Claim, Mode};

use crate::keys::Keys;
use crate::resp::Reply;
use crate::script::{Call, Dialect};

/// What a server is asked: whether it knows the commands. Versions say nothing, as there are several
/// kinds of servers.
pub(crate) const QUESTION: &[&[u8]] = &[b"COMMAND", b"INFO", b"DELIFEQ", b"DELEX"];

/// The command of a server, if it has one.
#[derive(Debug, Default)]
pub(crate) struct Quick {
    command: Option<&'static str>,
    refused: AtomicBool,
}

impl Quick {
    /// Reads the answer to the question.
    pub(crate) fn new(answer: &Reply) -> Self {
        let known =
            |entry: Option<&Reply>| entry.and_then(Reply::list).is_some_and(|entry| !entry.is_empty());
        let entries = answer.list().unwrap_or_default();
        let command = match (known(entries.first()), known(entries.get(1))) {
            (true, _) => Some("DELIFEQ"),
            (false, true) => Some("DELEX"),
            (false, false) => None,
        };
        Self { command, refused: AtomicBool::new(false) }
    }

    /// A release by that command, if that is all there is to do.
    pub(crate) fn release(
        &self,
        dialect: &Dialect,
        claim: &Claim,
        keys: &Keys,
        keep: Option<Duration>,
    ) -> Option<Call> {
        let command = self.command.filter(|_| !self.refused.load(Ordering::Relaxed))?;
        let plain = claim.mode() == Mode::Exclusive && keep.is_none();
        if !plain || !dialect.channel.is_empty() || dialect.queue.is_some() {
            return None;
        }
        let mut arguments = vec![dialect.tokens.of(claim.owner())];
        if command == "DELEX" {
            arguments.insert(0, b"IFEQ".to_vec());
        }
        Some(Call::command(command, keys.own(), arguments))
    }

    /// Whether the answer says that the lock is released.
    pub(crate) fn has_released(&self, answer: &Reply) -> bool {
        // A user who may not use it is a reason to do without it for good, and a server that calls something
        // else by its name; a key of another type or a server that is busy is none.
        if matches!(answer, Reply::Error(message) if is_refusal(message)) {
            self.refused.store(true, Ordering::Relaxed);
        }
        answer.int() == Some(1)
    }
}

fn is_refusal(message: &str) -> bool {
    matches!(message.split_whitespace().next(), Some("NOPERM" | "ERR"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_will_be_so_the_next_time_ends_the_use_of_a_command() {
        for (answer, ends) in [
            ("NOPERM this user has no permissions to run the 'delex' command", true),
            ("ERR unknown command 'DELEX'", true),
            ("ERR wrong number of arguments", true),
            ("WRONGTYPE Operation against a key", false),
            ("LOADING Redis is loading the dataset in memory", false),
            ("BUSY Redis is busy running a script", false),
            ("MISCONF Redis is configured to save", false),
            ("READONLY You can't write against a read only replica.", false),
            ("MOVED 3999 127.0.0.1:6381", false),
            ("CLUSTERDOWN The cluster is down", false),
            ("NOREPLICAS Not enough good replicas", false),
        ] {
            let quick = Quick { command: Some("DELEX"), refused: AtomicBool::new(false) };
            assert!(!quick.has_released(&Reply::Error(answer.into())));
            assert_eq!(quick.refused.load(Ordering::Relaxed), ends, "{answer}");
        }
    }

    #[test]
    fn what_a_server_knows_is_read_from_what_it_says_of_its_commands() {
        let entry = || Reply::List(vec![Reply::Text(b"delex".to_vec()), Reply::Int(-2)]);
        for (answer, command) in [
            (vec![entry(), entry()], Some("DELIFEQ")),
            (vec![Reply::Nil, entry()], Some("DELEX")),
            (vec![entry(), Reply::Nil], Some("DELIFEQ")),
            (vec![Reply::Nil, Reply::Nil], None),
            (vec![Reply::List(Vec::new()), Reply::List(Vec::new())], None),
        ] {
            assert_eq!(Quick::new(&Reply::List(answer.clone())).command, command, "{answer:?}");
        }
        assert_eq!(Quick::new(&Reply::Error("NOPERM".into())).command, None);
    }
}
