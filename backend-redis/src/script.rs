//! What is said to the server, and what its answers mean. No I/O: threads and tasks use it alike.

use std::sync::LazyLock;
use std::time::Duration;

use sha1::{Digest, Sha1};
use tenure_core::{
    Attempt, Breaking, Cause, Claim, Denied, Error, Fence, Granted, Holder, Lease, Mode, Name, Owner, Result,
};

use crate::acks::Acks;
use crate::keys::{Keys, Sibling};
use crate::resp::{Commands, Packed, Reply};

/// A script as the server gets it, and the name under which it keeps it.
pub(crate) struct Script {
    text: &'static str,
    digest: String,
}

macro_rules! scripts {
    ($($name:ident $file:literal;)*) => {$(
        pub(crate) static $name: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!($file)));
    )*};
}

scripts! {
    ACQUIRE "lua/acquire.lua";
    RENEW "lua/renew.lua";
    RELEASE "lua/release.lua";
    SHARE "lua/share.lua";
    RENEW_SHARE "lua/renew_share.lua";
    RELEASE_SHARE "lua/release_share.lua";
    INSPECT "lua/inspect.lua";
}

impl Script {
    fn new(text: &'static str) -> Self {
        let digest = Sha1::digest(text).iter().map(|byte| format!("{byte:02x}")).collect();
        Self { text, digest }
    }
}

/// How a script is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    Digest,
    Text,
}

/// A call of a script: first by its digest, and by its text if the server does not know it.
pub(crate) struct Call {
    script: &'static Script,
    keys: Vec<Vec<u8>>,
    arguments: Vec<Vec<u8>>,
}

impl Call {
    /// As a request.
    pub(crate) fn packed(&self, by: By) -> Packed {
        let mut packed = Packed::default();
        self.write(by, &mut packed);
        packed.about(self.key())
    }

    /// The key whose server it is for.
    pub(crate) fn key(&self) -> &[u8] {
        self.keys.first().map_or(&[], Vec::as_slice)
    }

    pub(crate) fn write(&self, by: By, commands: &mut impl Commands) {
        let (command, script): (&[u8], &str) = match by {
            By::Digest => (b"EVALSHA", &self.script.digest),
            By::Text => (b"EVAL", self.script.text),
        };
        let count = self.keys.len().to_string();
        let mut arguments: Vec<&[u8]> = vec![command, script.as_bytes(), count.as_bytes()];
        arguments.extend(self.keys.iter().chain(&self.arguments).map(Vec::as_slice));
        commands.push(&arguments);
    }
}

/// How a lock is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// Once.
    Try,
    /// As one that will ask again until it gets it.
    Wait,
    /// As its owner.
    Restore,
}

impl How {
    fn restores(self) -> Vec<u8> {
        if self == Self::Restore { b"1".to_vec() } else { Vec::new() }
    }
}

/// How the keys and values of a store look.
#[derive(Clone, Debug)]
pub(crate) struct Dialect {
    /// How long the fence of a name is remembered after its last grant or renewal.
    pub(crate) fence_life: Duration,
    /// Where releases are told, for servers that cannot track keys; nothing if they can.
    pub(crate) channel: Vec<u8>,
    /// For how long a waiting writer keeps new readers out.
    pub(crate) patience: Duration,
    /// How long the loser of a broken lock can learn of it.
    pub(crate) note_life: Duration,
    /// What replicas must know before a grant or a renewal counts.
    pub(crate) acks: Option<Acks>,
}

impl Dialect {
    /// Takes a lock, or takes up again what the claim's owner holds.
    pub(crate) fn acquire(&self, claim: &Claim, keys: &Keys, how: How) -> Result<Call> {
        let ttl = claim.term().ttl().map(|ttl| millis(ttl.get()));
        let ttl =
            ttl.ok_or_else(|| Error::misconfigured("locks in Redis have a lease; leave the session out"))?;
        let mut arguments = vec![
            token(claim.owner()),
            ttl,
            millis(self.fence_life),
            claim.floor().get().to_string().into_bytes(),
            claim.label().into(),
        ];
        let (fence, writer) = (keys.sibling(Sibling::Fence), keys.sibling(Sibling::Writer));
        let own = keys.own().to_vec();
        Ok(match claim.mode() {
            Mode::Exclusive => {
                arguments.push(if how == How::Wait { millis(self.patience) } else { b"0".to_vec() });
                arguments.push(how.restores());
                Call { script: &ACQUIRE, keys: vec![own, fence, writer], arguments }
            }
            mode => {
                arguments.push(limit(mode).to_string().into_bytes());
                arguments.push(how.restores());
                let sharers = keys.sibling(Sibling::Sharers);
                Call { script: &SHARE, keys: vec![own, fence, writer, sharers], arguments }
            }
        })
    }

    pub(crate) fn renew(&self, claim: &Claim, keys: &Keys, ttl: Duration) -> Call {
        let ttl = if ttl == Duration::MAX { b"0".to_vec() } else { millis(ttl) };
        let mut arguments = vec![token(claim.owner()), ttl, millis(self.fence_life)];
        let (fence, broken) = (keys.sibling(Sibling::Fence), keys.sibling(Sibling::Broken));
        let own = keys.own().to_vec();
        match kind(claim.mode()) {
            None => Call { script: &RENEW, keys: vec![own, fence, broken], arguments },
            Some(kind) => {
                arguments.push(kind.to_vec());
                let sharers = keys.sibling(Sibling::Sharers);
                Call { script: &RENEW_SHARE, keys: vec![own, fence, broken, sharers], arguments }
            }
        }
    }

    pub(crate) fn release(&self, claim: &Claim, keys: &Keys, keep: Option<Duration>) -> Call {
        let keep = keep.map_or_else(|| b"0".to_vec(), millis);
        let mut arguments = vec![token(claim.owner()), keep, self.channel.clone()];
        let (own, broken) = (keys.own().to_vec(), keys.sibling(Sibling::Broken));
        match kind(claim.mode()) {
            None => {
                let writer = keys.sibling(Sibling::Writer);
                Call { script: &RELEASE, keys: vec![own, broken, writer], arguments }
            }
            Some(kind) => {
                arguments.push(kind.to_vec());
                let sharers = keys.sibling(Sibling::Sharers);
                Call { script: &RELEASE_SHARE, keys: vec![own, broken, sharers], arguments }
            }
        }
    }

    pub(crate) fn look(&self, keys: &Keys) -> Call {
        self.inspect(keys, b"look", "")
    }

    pub(crate) fn force(&self, keys: &Keys, breaking: Breaking, reason: &str) -> Call {
        let how: &[u8] = if breaking == Breaking::Now { b"now" } else { b"safe" };
        self.inspect(keys, how, reason)
    }

    fn inspect(&self, keys: &Keys, how: &[u8], reason: &str) -> Call {
        let siblings =
            [Sibling::Fence, Sibling::Broken, Sibling::Sharers].map(|sibling| keys.sibling(sibling));
        let mut all = vec![keys.own().to_vec()];
        all.extend(siblings);
        let arguments = vec![
            how.to_vec(),
            reason.into(),
            millis(self.fence_life),
            millis(self.note_life),
            self.channel.clone(),
        ];
        Call { script: &INSPECT, keys: all, arguments }
    }
}

/// The answer to an acquire.
pub(crate) fn attempt(claim: &Claim, reply: &Reply) -> Result<Attempt<()>> {
    let parts = reply.list().unwrap_or_default();
    match (parts.first().and_then(Reply::int), parts) {
        (Some(1), [_, fence, ..]) => {
            let fence = fence.int().and_then(|fence| u64::try_from(fence).ok()).ok_or_else(|| odd(reply))?;
            let lease = claim.term().ttl().map_or(Lease::Session, |ttl| Lease::For(ttl.get()));
            Ok(Attempt::Granted(Granted::new((), Fence::new(fence), lease)))
        }
        (Some(0), [_, left, holder, ..]) => {
            let mut denied = Denied::new();
            if let Some(left) = left.int().and_then(|left| u64::try_from(left).ok()) {
                denied = denied.retry_after(Duration::from_millis(left));
            }
            if let Some(fence) =
                holder.int().and_then(|fence| u64::try_from(fence).ok()).filter(|fence| *fence > 0)
            {
                denied = denied.holder(Fence::new(fence));
            }
            Ok(Attempt::Denied(denied))
        }
        _ => Err(odd(reply)),
    }
}

/// The answer to a renewal or a release. `resent` says that an earlier request with the same token may
/// have been carried out, so that "not yours any more" may mean that it was.
pub(crate) fn verdict(reply: &Reply, resent: bool) -> Result<()> {
    match reply.int() {
        Some(1) => Ok(()),
        Some(0) if resent => Ok(()),
        Some(0) => Err(Error::lost(Cause::Superseded)),
        Some(-1) => Err(Error::lost(Cause::Forced)),
        _ => Err(odd(reply)),
    }
}

/// The answer to a look.
pub(crate) fn holders(name: &Name, reply: &Reply) -> Result<Vec<Holder>> {
    let holder = |seen: &Reply| -> Option<Holder> {
        let [kind, left, given, reason] = seen.list()? else { return None };
        let given = String::from_utf8_lossy(given.text()?).into_owned();
        let mut given = given.splitn(3, ' ');
        let fence = given.next()?.parse().ok()?;
        let since: u64 = given.next().and_then(|since| since.parse().ok()).unwrap_or(0);
        // Without the millisecond that is given beyond what was asked for.
        let left = left.int().and_then(|left| u64::try_from(left).ok());
        let left = left.map(|left| Duration::from_millis(left.saturating_sub(1)));
        let holder = Holder::new(name.clone(), Fence::new(fence), left)
            .with_mode(match kind.text()? {
                b"r" => Mode::Shared,
                b"p" => Mode::Permit { limit: 0 },
                _ => Mode::Exclusive,
            })
            .with_label(given.next().unwrap_or_default())
            .with_since(std::time::UNIX_EPOCH + Duration::from_millis(since));
        Some(match reason.text() {
            Some([]) | None => holder,
            Some(reason) => holder.with_breaking(String::from_utf8_lossy(reason)),
        })
    };
    let seen = reply.list().ok_or_else(|| odd(reply))?;
    let mut holders = seen.iter().map(holder).collect::<Option<Vec<_>>>().ok_or_else(|| odd(reply))?;
    holders.sort_by_key(Holder::fence);
    Ok(holders)
}

/// One request was for many; each of them went unanswered.
pub(crate) fn unanswered(error: &Error) -> Error {
    Error::unavailable("the renewal went unanswered").with_source(error.to_string())
}

pub(crate) fn no_answer() -> Error {
    Error::unavailable("the server gave no answer")
}

/// An error of the server, or an answer that no script of ours gives.
pub(crate) fn odd(reply: &Reply) -> Error {
    match reply {
        Reply::Error(message) => refusal(message),
        other => Error::unavailable(format!("the server answered {other:?}, which no script of ours does")),
    }
}

/// What an error of the server means for who asked.
fn refusal(message: &str) -> Error {
    let remedy = match message.split_whitespace().next() {
        Some("OOM") => {
            "the server is out of memory; raise its maxmemory, or give locks a server of their own"
        }
        Some("READONLY") => "this server is a replica; name its master, or use sentinels",
        Some("NOREPLICAS") => "too few replicas are in step with the master",
        Some("LOADING") => "the server is still loading its data",
        Some("MASTERDOWN") => "the replica has lost its master",
        Some("MISCONF") => "the server cannot save its data and refuses writes; see its log",
        Some("CLUSTERDOWN") => "the cluster is down",
        Some("NOAUTH" | "WRONGPASS") => {
            return Error::misconfigured(
                "the server wants a user and a password that it knows; put them into the URL",
            )
            .with_source(message);
        }
        Some("NOPERM") => {
            return Error::misconfigured(
                "the user may not do what locks need: EVAL, EVALSHA, CLIENT, SUBSCRIBE, and all commands on keys \
                 with the prefix and with a leading ~; see ACL SETUSER",
            )
            .with_source(message);
        }
        Some("TRYAGAIN") => "the keys of the lock are being moved to another node of the cluster; try again",
        Some("MOVED" | "ASK") => "the server is part of a cluster; write redis+cluster:// into the URL",
        Some("UNHEARD") => {
            // It is carried out all the same.
            return Error::unavailable(
                "too few replicas have heard of it; see whether they run and keep up, or demand fewer",
            )
            .with_source(message);
        }
        Some("CROSSSLOT") => "the keys of the lock lie in several slots",
        _ => "the server refused",
    };
    Error::unavailable(remedy).with_source(message).settled()
}

fn token(owner: Owner) -> Vec<u8> {
    owner.to_string().into_bytes()
}

/// Whole milliseconds, never less: the server drops fractions, and counts from the start of the
/// millisecond in which it got the request.
fn millis(time: Duration) -> Vec<u8> {
    (time.as_nanos().div_ceil(1_000_000) + 1).to_string().into_bytes()
}

fn limit(mode: Mode) -> u32 {
    match mode {
        Mode::Permit { limit } => limit,
        _ => 0,
    }
}

fn kind(mode: Mode) -> Option<&'static [u8]> {
    match mode {
        Mode::Exclusive => None,
        Mode::Permit { .. } => Some(b"p"),
        _ => Some(b"r"),
    }
}
