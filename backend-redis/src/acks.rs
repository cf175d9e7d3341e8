//! Demanding that replicas have a grant before it counts. See `WAIT` in the Redis manual.

use std::time::Duration;

use tenure_core::Result;

use crate::resp::{Commands, Packed, Reply};
use crate::script;

/// How many replicas must have what was written, and how long they may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Acks {
    pub(crate) replicas: u32,
    pub(crate) within: Duration,
}

/// With what the answer begins that replaces one which too few replicas have heard of.
pub(crate) const UNHEARD: &str = "UNHEARD";

/// With what it begins if the server did not even say how many.
pub(crate) const UNTOLD: &str = "UNTOLD";

impl Acks {
    /// Asks, behind what was written on the same connection.
    pub(crate) fn write(self, commands: &mut impl Commands) {
        let within = self.within.as_millis().max(1).to_string();
        commands.push(&[b"WAIT", self.replicas.to_string().as_bytes(), within.as_bytes()]);
    }

    /// The question alone.
    pub(crate) fn command(self) -> Packed {
        let mut packed = Packed::default();
        self.write(&mut packed);
        packed
    }

    /// The answer as it counts: one that tells of success is none if too few replicas know.
    pub(crate) fn judge(self, reply: Reply, heard: &Reply) -> Reply {
        let first = reply.list().and_then(|parts| parts.first()).unwrap_or(&reply);
        if first.int() != Some(1) {
            return reply;
        }
        match heard.int() {
            Some(count) if count >= i64::from(self.replicas) => reply,
            Some(count) => Reply::Error(
                format!("{UNHEARD} {count} of {} replicas within {:?}", self.replicas, self.within).into(),
            ),
            None => match heard {
                Reply::Error(refusal) => Reply::Error(format!("{UNTOLD} {refusal}").into()),
                odd => Reply::Error(format!("{UNTOLD} ERR the server answered {odd:?} to WAIT").into()),
            },
        }
    }
}

impl Packed {
    /// With the question behind it, if it is asked.
    pub(crate) fn and_ask(self, acks: Option<Acks>) -> Self {
        match acks {
            Some(acks) => self.followed_by(&acks.command()),
            None => self,
        }
    }
}

/// The answers to commands, and to the question behind them if there is one, as they count.
pub(crate) fn judged(mut replies: Vec<Reply>, acks: Option<Acks>) -> Vec<Reply> {
    match acks.and_then(|acks| Some((acks, replies.pop()?))) {
        Some((acks, heard)) => replies.into_iter().map(|reply| acks.judge(reply, &heard)).collect(),
        None => replies,
    }
}

/// The answer to one command, and to the question behind it if there is one.
pub(crate) fn only(replies: Vec<Reply>, acks: Option<Acks>) -> Result<Reply> {
    judged(replies, acks).pop().ok_or_else(script::no_answer)
}

/// Whether this is an answer that too few replicas have heard of, as far as is known.
pub(crate) fn is_unheard(reply: &Reply) -> bool {
    let is = |message: &str| message.starts_with(UNHEARD) || message.starts_with(UNTOLD);
    matches!(reply, Reply::Error(message) if is(message))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: Acks = Acks { replicas: 2, within: Duration::from_millis(100) };

    #[test]
    fn success_counts_only_if_enough_replicas_know() {
        let granted = Reply::List(vec![Reply::Int(1), Reply::Int(7)]);
        for success in [granted, Reply::Int(1)] {
            assert_eq!(TWO.judge(success.clone(), &Reply::Int(2)), success);
            assert_eq!(TWO.judge(success.clone(), &Reply::Int(3)), success);
            for too_few in [Reply::Int(1), Reply::Int(0)] {
                let judged = TWO.judge(success.clone(), &too_few);
                assert!(is_unheard(&judged), "{too_few:?}");
                let error = script::odd(&judged);
                assert!(error.is_unavailable() && !error.is_settled(), "{error:?}");
            }
            for untold in [Reply::Error("ERR unknown command".into()), Reply::Nil] {
                let judged = TWO.judge(success.clone(), &untold);
                assert!(is_unheard(&judged), "{untold:?}");
                let error = script::odd(&judged);
                assert!(error.is_unavailable() && !error.is_settled(), "{error:?}");
            }
            let forbidden = TWO.judge(success.clone(), &Reply::Error("NOPERM no WAIT".into()));
            assert!(is_unheard(&forbidden) && script::odd(&forbidden).is_misconfigured());
        }
    }

    #[test]
    fn what_is_no_success_stays_as_it_is() {
        let denied = Reply::List(vec![Reply::Int(0), Reply::Int(7), Reply::Int(1)]);
        for answer in [denied, Reply::Int(0), Reply::Int(-1), Reply::Error("NOSCRIPT".into())] {
            assert_eq!(TWO.judge(answer.clone(), &Reply::Int(0)), answer);
        }
    }
}
