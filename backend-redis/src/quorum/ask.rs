//! What one server is asked, and what becomes of its answer.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tenure_core::{
    Advice, Attempt, Backend, Breaking, Claim, Error, Fence, Holder, Inspect, Kind, Moment, Name, Owner,
    Result, Site, Watch,
};

use super::gather::{Ballot, Cast, Close, Vote};
use super::tally::Said;
use crate::Redis;
use crate::inspect::key_of;
use crate::keys::Keys;
use crate::resp::{Packed, Reply};
use crate::script::{self, Attempted, Call, Dialect, How};

/// One request to one server.
pub(super) enum Ask {
    Acquire {
        claim: Claim,
        how: How,
        attempt: Attempted,
        ballot: Ballot<Said>,
    },
    Renew {
        claim: Claim,
        ttl: Duration,
        ballot: Ballot<Said>,
    },
    /// Without a ballot, to clear up.
    Release {
        claim: Claim,
        keep: Option<Duration>,
        ballot: Option<Ballot<Said>>,
    },
    /// Ends a grant that is not wanted. A release would end a later one of the same claim as well if it came
    /// late, or twice.
    TakeBack {
        claim: Claim,
        attempt: Attempted,
    },
    /// Raises the last fence; without an owner, whoever holds the lock.
    Raise {
        key: Box<str>,
        owner: Option<Owner>,
        fence: Fence,
        ballot: Ballot<Said>,
    },
    Look {
        name: Name,
        ballot: Ballot<Vec<Holder>>,
    },
    Force {
        name: Name,
        breaking: Breaking,
        reason: Box<str>,
        ballot: Ballot<Vec<Holder>>,
    },
    List {
        prefix: Box<str>,
        ballot: Ballot<Vec<Holder>>,
    },
    Watch {
        claim: Claim,
        ballot: Ballot<Watch>,
    },
    Diagnose {
        ballot: Ballot<Vec<Advice>>,
    },
    Identify {
        ballot: Ballot<String>,
    },
}

/// A release that a server did not take.
pub(super) struct Owed {
    pub(super) claim: Claim,
    pub(super) keep: Option<Duration>,
    /// The attempt that it undoes; it ends the claim if there is none.
    pub(super) attempt: Option<Attempted>,
    /// By then the lease has ended by itself.
    pub(super) until: Moment,
}

/// Why a server did not answer, to be told to all who asked it.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    kind: Kind,
    text: Box<str>,
    pub(super) settled: bool,
}

/// What an answer leaves to be done.
#[derive(Default)]
pub(super) struct Rest {
    /// What was granted although nobody wants it any more.
    pub(super) take_back: Option<(Claim, Attempted)>,
    /// When a collection is to be closed, and which.
    pub(super) close: Option<(Moment, Arc<dyn Close>)>,
}

impl Ask {
    /// Whether nobody wants it any more, so that it need not be sent. A release is always wanted.
    pub(super) fn is_pointless(&self) -> bool {
        match self {
            Self::Acquire { ballot, .. } => ballot.is_unwanted(),
            _ => false,
        }
    }

    /// Whether it can be carried out twice and then says how it stands.
    pub(super) fn is_repeatable(&self) -> bool {
        matches!(
            self,
            Self::Acquire { .. }
                | Self::Renew { .. }
                | Self::Release { .. }
                | Self::TakeBack { .. }
                | Self::Raise { .. }
        )
    }

    /// The script that does it, to be called together with others; `None` for what goes alone.
    pub(super) fn call(&self, dialect: &Dialect, site: &Site) -> Result<Option<Call>> {
        let keys = |claim: &Claim| Keys::new(claim.key());
        let named = |name: &Name| Keys::new(&key_of(site, name));
        Ok(Some(match self {
            // To be told of changes, a connection has to say so first.
            Self::Acquire { claim, .. } if site.waiting(claim.key()) > 0 => return Ok(None),
            Self::Acquire { claim, how: How::Restore, .. } => {
                dialect.acquire(claim, &keys(claim), How::Restore)?
            }
            Self::Acquire { claim, how, attempt, .. } => {
                dialect.attempt(claim, &keys(claim), *how, *attempt)?
            }
            Self::Renew { claim, ttl, .. } => dialect.renew(claim, &keys(claim), *ttl),
            Self::Release { claim, keep, .. } => dialect.release(claim, &keys(claim), *keep),
            Self::TakeBack { claim, attempt } => dialect.take_back(claim, &keys(claim), *attempt),
            Self::Raise { key, owner, fence, .. } => dialect.raise(*owner, &Keys::new(key), *fence),
            Self::Look { name, .. } => dialect.look(&named(name)),
            Self::Force { name, breaking, reason, .. } => dialect.force(&named(name), *breaking, reason),
            Self::List { .. } | Self::Watch { .. } | Self::Diagnose { .. } | Self::Identify { .. } => {
                return Ok(None);
            }
        }))
    }

    /// Takes in the answer of a script. `resent` says that it may have been called twice.
    pub(super) fn answered(self, server: &str, reply: &Reply, resent: bool) -> Rest {
        let at = |error: Error| error.at(server);
        match self {
            Self::Acquire { claim, how, attempt, ballot } => {
                let said = script::attempt(&claim, reply, resent).map(|attempt| match attempt {
                    Attempt::Granted(granted) => Said::Yes(granted.fence()),
                    Attempt::Denied(denied) => Said::No(denied),
                });
                let granted = said.as_ref().map_or_else(|error| !error.is_settled(), Vote::is_yes);
                let Cast { unwanted, close } = ballot.cast(said.map_err(at));
                let take_back = granted && unwanted && how != How::Restore;
                Rest { take_back: take_back.then_some((claim, attempt)), close }
            }
            Self::Renew { ballot, .. } => rest(ballot, verdict(reply, false).map_err(at)),
            Self::Release { ballot: Some(ballot), .. } => rest(ballot, verdict(reply, resent).map_err(at)),
            Self::Release { ballot: None, .. } | Self::TakeBack { .. } => Rest::default(),
            Self::Raise { ballot, .. } => rest(ballot, verdict(reply, false).map_err(at)),
            Self::Look { name, ballot } | Self::Force { name, ballot, .. } => {
                rest(ballot, script::holders(&name, reply).map_err(at))
            }
            // None of these is a script.
            Self::List { .. } | Self::Watch { .. } | Self::Diagnose { .. } | Self::Identify { .. } => {
                Rest::default()
            }
        }
    }

    /// Does what goes alone.
    ///
    /// # Errors
    ///
    /// If the server did not answer, with the request that is to be failed.
    pub(super) fn alone(self, server: &str, store: &Redis) -> std::result::Result<Rest, Box<(Error, Self)>> {
        Ok(match self {
            Self::Acquire { ref claim, how, attempt, .. } => {
                let reply = match how {
                    How::Restore => {
                        let call = store.dialect().acquire(claim, &Keys::new(claim.key()), how);
                        call.and_then(|call| store.call(&call, None))
                    }
                    How::Try | How::Wait => store.attempt(claim, attempt),
                };
                match reply {
                    Ok((reply, resent)) => self.answered(server, &reply, resent),
                    Err(error) => return Err(Box::new((error, self))),
                }
            }
            Self::Watch { claim, ballot } => {
                rest(ballot, store.watch(&claim).map_err(|error| error.at(server)))
            }
            Self::Diagnose { ballot } => rest(ballot, Ok(store.diagnose())),
            Self::Identify { ref ballot } if ballot.is_unwanted() => Rest::default(),
            Self::Identify { .. } => match store.transport().exchange(&Packed::command(&[b"INFO"]), None) {
                Ok(answers) => {
                    let Self::Identify { ballot } = self else { return Ok(Rest::default()) };
                    rest(ballot, Ok(run_id(answers.replies.first())))
                }
                Err(error) => return Err(Box::new((error, self))),
            },
            Self::List { prefix, ballot } => {
                // Looking at all keys of a server takes its time; others go on meanwhile.
                let (store, server) = (store.clone(), Box::<str>::from(server));
                let list = move || drop(ballot.cast(store.list(&prefix).map_err(|error| error.at(&server))));
                drop(thread::Builder::new().name("tenure-redis-list".into()).spawn(list));
                Rest::default()
            }
            _ => Rest::default(),
        })
    }

    /// Says that the server did not answer. What it may have done all the same is to be undone.
    pub(super) fn failed(self, failure: &Failure, now: Moment) -> (Rest, Option<Owed>) {
        let again = || failure.error();
        let doubt = !failure.settled;
        match self {
            Self::Acquire { claim, how, attempt, ballot } => {
                let Cast { unwanted, close } = ballot.cast(Err(again()));
                let owes = unwanted && doubt && how != How::Restore;
                (Rest { take_back: None, close }, owes.then(|| Owed::new(claim, None, Some(attempt), now)))
            }
            Self::Release { claim, keep, ballot } => {
                let rest = ballot.map(|ballot| rest(ballot, Err(again()))).unwrap_or_default();
                (rest, Some(Owed::new(claim, keep, None, now)))
            }
            Self::TakeBack { claim, attempt } => {
                (Rest::default(), Some(Owed::new(claim, None, Some(attempt), now)))
            }
            Self::Renew { ballot, .. } | Self::Raise { ballot, .. } => (rest(ballot, Err(again())), None),
            Self::Look { ballot, .. } | Self::Force { ballot, .. } | Self::List { ballot, .. } => {
                (rest(ballot, Err(again())), None)
            }
            Self::Watch { ballot, .. } => (rest(ballot, Err(again())), None),
            Self::Diagnose { ballot } => (rest(ballot, Err(again())), None),
            Self::Identify { ballot } => (rest(ballot, Err(again())), None),
        }
    }
}

impl From<Owed> for Ask {
    fn from(Owed { claim, keep, attempt, .. }: Owed) -> Self {
        match attempt {
            Some(attempt) => Self::TakeBack { claim, attempt },
            None => Self::Release { claim, keep, ballot: None },
        }
    }
}

impl Default for Failure {
    fn default() -> Self {
        Self { kind: Kind::Unavailable, text: "the server was not asked".into(), settled: true }
    }
}

impl Failure {
    pub(super) fn new(server: &str, error: &Error) -> Self {
        let mut text = match error.backend() {
            Some(_) => error.to_string(),
            None => format!("{server}: {error}"),
        };
        if let Some(source) = std::error::Error::source(error) {
            text = format!("{text}: {source}");
        }
        Self { kind: error.kind(), text: text.into(), settled: error.is_settled() }
    }

    /// As one of a request that was never sent.
    pub(super) fn settled(self) -> Self {
        Self { settled: true, ..self }
    }

    /// As one of a request that may have been carried out before.
    pub(super) fn in_doubt(self, again: bool) -> Self {
        Self { settled: self.settled && !again, ..self }
    }

    fn error(&self) -> Error {
        let error = Error::new(self.kind, self.text.clone());
        if self.settled { error.settled() } else { error }
    }
}

impl Owed {
    fn new(claim: Claim, keep: Option<Duration>, attempt: Option<Attempted>, now: Moment) -> Self {
        let life = claim.term().ttl().map_or(Duration::ZERO, |ttl| ttl.get());
        Self { claim, keep, attempt, until: now + life.max(keep.unwrap_or_default()) }
    }
}

fn rest<T: Vote>(ballot: Ballot<T>, vote: Result<T>) -> Rest {
    Rest { take_back: None, close: ballot.cast(vote).close }
}

fn verdict(reply: &Reply, resent: bool) -> Result<Said> {
    match script::verdict(reply, resent) {
        Ok(()) => Ok(Said::Yes(Fence::ZERO)),
        Err(error) => error.cause().map(Said::Gone).ok_or(error),
    }
}

/// By what a server differs from all others, as long as it runs; nothing if it does not say.
fn run_id(info: Option<&Reply>) -> String {
    let text = info.and_then(Reply::text).map(String::from_utf8_lossy).unwrap_or_default();
    text.lines().find_map(|line| line.strip_prefix("run_id:")).unwrap_or_default().trim().to_owned()
}
