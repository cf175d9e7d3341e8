//! A cluster: a pool of connections for each node, and requests that go to the node of their key's slot.

#[cfg(feature = "async")]
pub(crate) mod aio;
mod known;
mod slots;

use std::sync::Arc;
use std::thread;

use redis::{Connection, ErrorKind, RedisResult};
use tenure_core::{Error, Moment, Result, Site};

use crate::acks::{self, Acks};
use crate::cluster::known::{Known, Route, Step};
use crate::cluster::slots::Slots;
use crate::dial::Dial;
use crate::pool::{Answers, Pool, Tracker, Transport, doubtful};
use crate::resp::{Packed, Reply};
use crate::script;
use crate::wire::{Place, Timed, Whereabouts};

pub(crate) use slots::Address;

/// The way of threads to all nodes; clones share it.
#[derive(Clone)]
pub(crate) struct Cluster(Arc<Inner>);

struct Inner {
    known: Known<Arc<Pool<Timed>>>,
    dial: Dial,
}

/// What is said before a request that a node sends to another for this once.
pub(crate) const ASKING: &[&[u8]] = &[b"ASKING"];

/// The answers without that to [`ASKING`]. If it was refused, that is the answer to what a node sends back
/// where it came from.
pub(crate) fn behind_asking(replies: Vec<Reply>) -> Vec<Reply> {
    let mut replies = replies.into_iter();
    let is_moved = |reply: &Reply| matches!(reply, Reply::Error(message) if message.starts_with("MOVED"));
    match replies.next() {
        Some(refused @ Reply::Error(_)) => {
            replies.map(|reply| if is_moved(&reply) { refused.clone() } else { reply }).collect()
        }
        _ => replies.collect(),
    }
}

impl Cluster {
    /// Asks the nodes which of them serves what.
    ///
    /// # Errors
    ///
    /// `Misconfigured` if they are no cluster, `Unavailable` if none of them answers.
    pub(crate) fn open(seeds: Vec<Address>, dial: Dial, pool_size: u32) -> Result<Self> {
        let dials = dial.clone();
        let open = move |address: &Address| {
            Ok(Arc::new(Pool::new(dials.timed(address)?, pool_size, dials.connect_timeout())))
        };
        let cluster = Self(Arc::new(Inner { known: Known::new(seeds, open), dial }));
        cluster.look(&cluster.0.known.whom())?;
        Ok(cluster)
    }

    /// Tells of slots that have another master from now on.
    pub(crate) fn tell(&self, site: &Site) {
        self.0.known.tell(site);
    }

    /// Asks nodes in turn which of them serves what, until one answers or the time for one is over.
    fn look(&self, whom: &[Address]) -> Result<()> {
        let began = Moment::now();
        let mut last = None;
        for address in whom {
            match self.look_at(address) {
                Ok(slots) => {
                    self.0.known.learn(slots);
                    return Ok(());
                }
                Err(error) => {
                    self.0.known.failed(address);
                    last = Some(error);
                }
            }
            if Moment::now().since(began) > self.0.dial.io_timeout() {
                break;
            }
        }
        Err(last.unwrap_or_else(|| Error::unavailable("no node of the cluster answers").settled()))
    }

    fn look_at(&self, address: &Address) -> Result<Slots> {
        let node = self.0.known.node(address)?;
        let replies = node.exchange(&Packed::command(slots::QUESTION), None)?.replies;
        told(replies.first().unwrap_or(&Reply::Nil), address)
    }

    /// Asks again who serves what, if that is in doubt.
    fn refresh(&self) {
        if let Some(whom) = self.0.known.due(Moment::now()) {
            // As long as nobody knows better, what is known is all there is.
            let _ = self.look(&whom);
        }
    }

    fn send(&self, packed: &Packed, key: &[u8], track: Option<Tracker>) -> Result<Answers> {
        self.refresh();
        let until = Moment::now() + self.0.dial.io_timeout();
        let mut route = Route::new(&self.0.known, key, until)?;
        let mut resent = false;
        loop {
            // A listener hears of one node alone.
            let track = track.filter(|track| track.server == route.number());
            let answers = match route.is_asking() {
                false => route.node()?.exchange(packed, track),
                true => route.node()?.exchange(&Packed::command(ASKING).followed_by(packed), track),
            };
            match answers {
                Ok(mut answers) => {
                    resent |= answers.resent;
                    if route.is_asking() {
                        answers.replies = behind_asking(answers.replies);
                    }
                    match route.answered(&answers.replies, Moment::now()) {
                        Ok(Step::Done) => return Ok(Answers { resent, ..answers }),
                        Ok(Step::Again) => {}
                        Ok(Step::After(pause)) => thread::sleep(pause),
                        Err(error) => return Err(doubtful(error, resent)),
                    }
                }
                Err(error) => {
                    let whom = route.unanswered(&error, Moment::now());
                    let looked = whom.is_some_and(|whom| self.look(&whom).is_ok());
                    if !looked || !route.changes() {
                        return Err(doubtful(error, resent));
                    }
                }
            }
        }
    }

    /// A request that any node can answer.
    fn send_anywhere(&self, packed: &Packed) -> Result<Answers> {
        self.refresh();
        let mut last = None;
        for address in self.0.known.masters() {
            match self.0.known.node(&address)?.exchange(packed, None) {
                Ok(answers) => return Ok(answers),
                Err(error) => {
                    self.0.known.failed(&address);
                    last = Some(error);
                }
            }
        }
        Err(last.unwrap_or_else(|| Error::unavailable("no node of the cluster serves slots").settled()))
    }

    /// Sends those of several requests that go to one node, in one go.
    fn send_part(&self, part: &Part, all: &[Packed], acks: Option<Acks>) -> Vec<Result<Reply>> {
        let these: Vec<Packed> = part.places.iter().map(|place| all[*place].clone()).collect();
        let node = match self.0.known.node(&part.address) {
            Ok(node) => node,
            Err(error) => return these.iter().map(|_| Err(script::unanswered(&error))).collect(),
        };
        let mut answers = node.exchange_each(&these, acks);
        if answers.iter().any(Result::is_err) {
            self.0.known.failed(&part.address);
        }
        // Those whose slot is elsewhere by now find their own way.
        for (answer, packed) in answers.iter_mut().zip(&these) {
            let strays =
                answer.as_ref().is_ok_and(|reply| slots::Redirect::of(reply, &part.address.host).is_some());
            if strays {
                let alone = self.exchange_each(std::slice::from_ref(packed), acks);
                *answer = alone.into_iter().next().unwrap_or_else(|| Ok(Reply::Nil));
            }
        }
        answers
    }
}

/// What a node answered when it was asked who serves what.
fn told(reply: &Reply, address: &Address) -> Result<Slots> {
    match reply {
        Reply::Error(message) if message.contains("cluster support disabled") => Err(Error::misconfigured(
            "the server is not part of a cluster; write redis:// for a server alone",
        )),
        Reply::Error(_) => Err(script::odd(reply)),
        _ => Slots::parse(reply, &address.host).ok_or_else(|| script::odd(reply)),
    }
}

/// The requests that one node gets.
struct Part {
    address: Address,
    places: Vec<usize>,
}

impl Part {
    /// Splits requests by the nodes of their keys; those whose slot nobody serves are left over.
    fn split<'p, N: Clone>(known: &Known<N>, keys: impl Iterator<Item = &'p [u8]>) -> Vec<Self> {
        let mut parts: Vec<Self> = Vec::new();
        for (place, key) in keys.enumerate() {
            let Ok(address) = known.owner(crate::keys::slot(key)) else { continue };
            match parts.iter_mut().find(|part| part.address == address) {
                Some(part) => part.places.push(place),
                None => parts.push(Self { address, places: vec![place] }),
            }
        }
        parts
    }
}

impl Transport for Cluster {
    fn exchange(&self, packed: &Packed, track: Option<Tracker>) -> Result<Answers> {
        match packed.key() {
            Some(key) => self.send(packed, key, track),
            None => self.send_anywhere(packed),
        }
    }

    fn exchange_each(&self, all: &[Packed], acks: Option<Acks>) -> Vec<Result<Reply>> {
        if let [one] = all {
            return vec![
                self.exchange(&one.clone().and_ask(acks), None)
                    .and_then(|answers| acks::only(answers.replies, acks)),
            ];
        }
        self.refresh();
        let parts = Part::split(&self.0.known, all.iter().map(|packed| packed.key().unwrap_or_default()));
        let mut answers: Vec<Result<Reply>> = Vec::new();
        answers.resize_with(all.len(), || Err(Error::unavailable("no node of the cluster serves it")));
        // A node that is silent does not keep the others waiting.
        let parted = thread::scope(|scope| {
            let (first, others) = parts.split_first()?;
            let others: Vec<_> = others
                .iter()
                .map(|part| {
                    let send = move || self.send_part(part, all, acks);
                    (part, thread::Builder::new().name("tenure-redis-renew".into()).spawn_scoped(scope, send))
                })
                .collect();
            let mut parted = vec![(first, self.send_part(first, all, acks))];
            for (part, thread) in others {
                let sent = thread.ok().and_then(|thread| thread.join().ok());
                parted.push((part, sent.unwrap_or_else(|| self.send_part(part, all, acks))));
            }
            Some(parted)
        });
        for (part, sent) in parted.into_iter().flatten() {
            for (place, answer) in part.places.iter().zip(sent) {
                answers[*place] = answer;
            }
        }
        answers
    }

    fn parts(&self) -> Result<Vec<Arc<dyn Transport>>> {
        self.refresh();
        let node = |address: &Address| Ok(self.0.known.node(address)? as Arc<dyn Transport>);
        self.0.known.masters().iter().map(node).collect()
    }
}

impl Place for Cluster {
    fn connection(&self, server: u64) -> RedisResult<Connection> {
        let timed = self.0.known.numbered(server).and_then(|address| self.0.dial.timed(&address).ok());
        match timed {
            Some(timed) => timed.connection(),
            None => Err((ErrorKind::InvalidClientConfig, "the node's address cannot be used").into()),
        }
    }
}

impl Whereabouts for Cluster {
    fn server(&self, key: &[u8]) -> Result<u64> {
        Ok(self.0.known.number(&self.0.known.owner(crate::keys::slot(key))?))
    }

    fn serves(&self, server: u64) -> bool {
        self.0.known.numbered(server).is_some_and(|address| self.0.known.masters().contains(&address))
    }
}
