//! What is said to the server, and what its answers mean. No I/O: threads and tasks use it alike.

use std::sync::LazyLock;
use std::time::Duration;

use sha1::{Digest, Sha1};
use tenure_core::{
    Attempt, Breaking, Cause, Claim, Denied, Error, Fence, Granted, Holder, Lease, Mode, Moment, Name, Owner,
    Result,
};

use crate::acks::{self, Acks};
use crate::fair::{self, Queue};
use crate::keys::{Keys, MARK, Sibling};
use crate::pool::doubtful;
use crate::profile::Tokens;
use crate::resp::{Commands, Packed, Reply};

/// A script as the server gets it, and the name under which it keeps it.
pub(crate) struct Script {
    text: &'static str,
    digest: String,
}

/// Scripts, each of one text after another.
macro_rules! scripts {
    ($($name:ident $($file:literal)+;)*) => {$(
        pub(crate) static $name: LazyLock<Script> =
            LazyLock::new(|| Script::new(concat!($(include_str!($file)),+)));
    )*};
}
pub(crate) use scripts;

scripts! {
    ACQUIRE "lua/acquire.lua";
    RENEW "lua/renew.lua";
    RELEASE "lua/release.lua";
    SHARE "lua/share.lua";
    RENEW_SHARE "lua/renew_share.lua";
    RELEASE_SHARE "lua/release_share.lua";
    INSPECT "lua/inspect.lua";
    AWAITED "lua/awaited.lua";
    GUARDED_ACQUIRE "lua/guard.lua" "lua/guard_begin.lua" "lua/acquire.lua" "lua/guard_end.lua";
    GUARDED_SHARE "lua/guard.lua" "lua/guard_begin.lua" "lua/share.lua" "lua/guard_end.lua";
    RAISE "lua/raise.lua";
    TAKE_BACK "lua/take_back.lua";
    ATTEMPT "lua/attempt_begin.lua" "lua/acquire.lua" "lua/attempt_end.lua";
    GUARDED_ATTEMPT "lua/guard.lua" "lua/guard_begin.lua" "lua/attempt_begin.lua" "lua/acquire.lua"
        "lua/attempt_end.lua" "lua/guard_end.lua";
}

impl Script {
    pub(crate) fn new(text: &'static str) -> Self {
        let digest = Sha1::digest(text).iter().map(|byte| format!("{byte:02x}")).collect();
        Self { text, digest }
    }
}

enum What {
    Script(&'static Script),
    Command(&'static str),
}

/// How a script is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    Digest,
    Text,
}

/// A call of a script: first by its digest, and by its text if the server does not know it. Or of a
/// command that does the same.
pub(crate) struct Call {
    what: What,
    keys: Vec<Vec<u8>>,
    arguments: Vec<Vec<u8>>,
}

impl Call {
    pub(crate) fn new(script: &'static Script, keys: Vec<Vec<u8>>, arguments: Vec<Vec<u8>>) -> Self {
        Self { what: What::Script(script), keys, arguments }
    }

    /// A call of a command with one key.
    pub(crate) fn command(command: &'static str, key: &[u8], arguments: Vec<Vec<u8>>) -> Self {
        Self { what: What::Command(command), keys: vec![key.to_vec()], arguments }
    }

    /// The same by a script that heeds a guard, if there is one.
    fn behind(mut self, guard: Option<&Guard>, script: &'static Script) -> Self {
        let Some(guard) = guard else { return self };
        self.keys.push(guard.key.clone());
        self.arguments.push(millis(guard.longest));
        Self { what: What::Script(script), ..self }
    }

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
        let count = self.keys.len().to_string();
        let mut arguments: Vec<&[u8]> = match (&self.what, by) {
            (What::Script(script), By::Digest) => {
                vec![b"EVALSHA", script.digest.as_bytes(), count.as_bytes()]
            }
            (What::Script(script), By::Text) => vec![b"EVAL", script.text.as_bytes(), count.as_bytes()],
            (What::Command(command), _) => vec![command.as_bytes()],
        };
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

/// One of the attempts of a claim: by when it was made, in microseconds of the clock of its process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Attempted(u64);

impl Attempted {
    /// The attempt that was made at a moment. Those of a claim are a round trip apart at least.
    pub(crate) fn at(moment: Moment) -> Self {
        // What a script can count exactly.
        Self(moment.as_nanos() / 1000)
    }
}

impl How {
    pub(crate) fn restores(self) -> Vec<u8> {
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
    /// How the tokens of owners are written.
    pub(crate) tokens: Tokens,
    /// What replicas must know before a grant or a renewal counts.
    pub(crate) acks: Option<Acks>,
    /// The queue of waiters at the server, if there is one.
    pub(crate) queue: Option<Queue>,
    /// What keeps locks closed after the server was started, if that is asked for.
    pub(crate) guard: Option<Guard>,
}

/// What keeps locks closed after the server was started or lost its data.
#[derive(Clone, Debug)]
pub(crate) struct Guard {
    key: Vec<u8>,
    longest: Duration,
}

impl Guard {
    /// A guard of all locks with a prefix, whose leases are no longer than `longest`.
    pub(crate) fn new(prefix: &str, longest: Duration) -> Self {
        Self { key: format!("{MARK}r:{prefix}").into_bytes(), longest }
    }

    pub(crate) fn key(&self) -> &[u8] {
        &self.key
    }
}

impl Dialect {
    /// Takes a lock, or takes up again what the claim's owner holds.
    pub(crate) fn acquire(&self, claim: &Claim, keys: &Keys, how: How) -> Result<Call> {
        let call = self.take(claim, keys, how)?;
        // What is held may be taken up again at any time.
        let guard = self.guard.as_ref().filter(|_| how != How::Restore);
        Ok(match (&self.queue, claim.mode()) {
            (Some(_), _) => call.behind(guard, &fair::GUARDED_ACQUIRE),
            (None, Mode::Exclusive) => call.behind(guard, &GUARDED_ACQUIRE),
            (None, _) => call.behind(guard, &GUARDED_SHARE),
        })
    }

    fn take(&self, claim: &Claim, keys: &Keys, how: How) -> Result<Call> {
        let ttl = claim.term().ttl().map(|ttl| millis(ttl.get()));
        let ttl =
            ttl.ok_or_else(|| Error::misconfigured("locks in Redis have a lease; leave the session out"))?;
        let mut arguments = vec![
            self.tokens.of(claim.owner()),
            ttl,
            millis(self.fence_life),
            claim.floor().get().to_string().into_bytes(),
            claim.label().into(),
        ];
        if let Some(queue) = &self.queue {
            return Ok(queue.acquire(claim, keys, how, arguments));
        }
        let (fence, writer) = (keys.sibling(Sibling::Fence), keys.sibling(Sibling::Writer));
        let own = keys.own().to_vec();
        Ok(match claim.mode() {
            Mode::Exclusive => {
                arguments.push(if how == How::Wait { millis(self.patience) } else { b"0".to_vec() });
                arguments.push(how.restores());
                Call::new(&ACQUIRE, vec![own, fence, writer], arguments)
            }
            mode => {
                arguments.push(limit(mode).to_string().into_bytes());
                arguments.push(how.restores());
                let sharers = keys.sibling(Sibling::Sharers);
                Call::new(&SHARE, vec![own, fence, writer, sharers], arguments)
            }
        })
    }

    pub(crate) fn renew(&self, claim: &Claim, keys: &Keys, ttl: Duration) -> Call {
        let ttl = if ttl == Duration::MAX { b"0".to_vec() } else { millis(ttl) };
        let mut arguments = vec![self.tokens.of(claim.owner()), ttl, millis(self.fence_life)];
        if let Some(queue) = &self.queue {
            return queue.renew(claim, keys, arguments).behind(self.guard.as_ref(), &fair::GUARDED_RENEW);
        }
        let (fence, broken) = (keys.sibling(Sibling::Fence), keys.sibling(Sibling::Broken));
        let own = keys.own().to_vec();
        match kind(claim.mode()) {
            None => Call::new(&RENEW, vec![own, fence, broken], arguments),
            Some(kind) => {
                arguments.push(kind.to_vec());
                let sharers = keys.sibling(Sibling::Sharers);
                Call::new(&RENEW_SHARE, vec![own, fence, broken, sharers], arguments)
            }
        }
    }

    pub(crate) fn release(&self, claim: &Claim, keys: &Keys, keep: Option<Duration>) -> Call {
        let keep = keep.map_or_else(|| b"0".to_vec(), millis);
        if let Some(queue) = &self.queue {
            let arguments = vec![self.tokens.of(claim.owner()), keep, millis(self.fence_life)];
            let release = queue.release(claim, keys, arguments);
            return release.behind(self.guard.as_ref(), &fair::GUARDED_RELEASE);
        }
        let mut arguments = vec![self.tokens.of(claim.owner()), keep, self.channel.clone()];
        let (own, broken) = (keys.own().to_vec(), keys.sibling(Sibling::Broken));
        match kind(claim.mode()) {
            None => {
                let writer = keys.sibling(Sibling::Writer);
                Call::new(&RELEASE, vec![own, broken, writer], arguments)
            }
            Some(kind) => {
                arguments.push(kind.to_vec());
                let sharers = keys.sibling(Sibling::Sharers);
                Call::new(&RELEASE_SHARE, vec![own, broken, sharers], arguments)
            }
        }
    }

    /// Whether anybody waits to have a lock alone.
    pub(crate) fn awaited(&self, keys: &Keys) -> Call {
        Call::new(&AWAITED, vec![keys.sibling(Sibling::Writer)], Vec::new())
    }

    /// Raises the last fence of a name to one that another server gave; if there is an owner, only while
    /// it holds the lock alone.
    pub(crate) fn raise(&self, owner: Option<Owner>, keys: &Keys, fence: Fence) -> Call {
        let keys = vec![keys.own().to_vec(), keys.sibling(Sibling::Fence)];
        let owner = owner.map(|owner| self.tokens.of(owner)).unwrap_or_default();
        Call::new(&RAISE, keys, vec![owner, fence.get().to_string().into_bytes(), millis(self.fence_life)])
    }

    /// As [`acquire`](Self::acquire), of a lock that is held alone: an attempt that can be taken back.
    pub(crate) fn attempt(&self, claim: &Claim, keys: &Keys, how: How, attempt: Attempted) -> Result<Call> {
        let mut call = self.take(claim, keys, how)?;
        call.what = What::Script(&ATTEMPT);
        call.keys.push(keys.sibling(Sibling::Attempt));
        call.arguments.push(attempt.0.to_string().into_bytes());
        Ok(call.behind(self.guard.as_ref(), &GUARDED_ATTEMPT))
    }

    /// Undoes attempts of a claim up to one of them.
    pub(crate) fn take_back(&self, claim: &Claim, keys: &Keys, attempt: Attempted) -> Call {
        let keys = vec![keys.own().to_vec(), keys.sibling(Sibling::Attempt)];
        let attempt = attempt.0.to_string().into_bytes();
        Call::new(&TAKE_BACK, keys, vec![self.tokens.of(claim.owner()), attempt, self.channel.clone()])
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
        match &self.queue {
            Some(queue) => queue.force(keys, arguments).behind(self.guard.as_ref(), &fair::GUARDED_INSPECT),
            None => Call::new(&INSPECT, all, arguments),
        }
    }
}

/// The answer to an acquire. `resent` says that an earlier request with the same token may have been
/// granted, whatever the server says now.
pub(crate) fn attempt(claim: &Claim, reply: &Reply, resent: bool) -> Result<Attempt<()>> {
    let parts = reply.list().unwrap_or_default();
    match (parts.first().and_then(Reply::int), parts) {
        (Some(1), [_, fence, ..]) => {
            let fence = fence.int().and_then(|fence| u64::try_from(fence).ok()).ok_or_else(|| odd(reply))?;
            let lease = claim.term().ttl().map_or(Lease::Session, |ttl| Lease::For(ttl.get()));
            Ok(Attempt::Granted(Granted::new((), Fence::new(fence), lease)))
        }
        (Some(0), [_, left, holder, rest @ ..]) => {
            let mut denied = Denied::new();
            if let Some(left) = left.int().and_then(|left| u64::try_from(left).ok()) {
                // In the last of these milliseconds it is still held.
                denied = denied.retry_after(Duration::from_millis(left + 1));
            }
            if let Some(fence) =
                holder.int().and_then(|fence| u64::try_from(fence).ok()).filter(|fence| *fence > 0)
            {
                denied = denied.holder(Fence::new(fence));
            }
            let queued = rest.first().and_then(Reply::int) == Some(1);
            Ok(Attempt::Denied(if queued { denied.queued() } else { denied }))
        }
        (Some(-1), [_, left, ..]) => {
            let left = left.int().and_then(|left| u64::try_from(left).ok()).ok_or_else(|| odd(reply))?;
            let closed = "the server was started or lost its data, and leases from before may still be believed in; \
                          wait for the longest of them, max_ttl, to end";
            Err(Error::quarantined(Duration::from_millis(left), closed).settled())
        }
        _ => Err(doubtful(odd(reply), resent)),
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
        let left = left.int().and_then(|left| u64::try_from(left).ok()).map(Duration::from_millis);
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
    // What a script may not do is an error of no code of its own.
    let forbidden = message.contains("The user executing the script can't");
    let code = if forbidden { Some("NOPERM") } else { message.split_whitespace().next() };
    let remedy = match code {
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
                "the user may not do what locks need on keys with the prefix and with a leading ~; the documentation \
                 of tenure-redis has the line for ACL SETUSER",
            )
            .with_source(message);
        }
        Some("TRYAGAIN") => "the keys of the lock are being moved to another node of the cluster; try again",
        Some("MOVED" | "ASK") => "the server is part of a cluster; write redis+cluster:// into the URL",
        // It is carried out all the same.
        Some(acks::UNHEARD) => {
            return Error::unavailable(
                "too few replicas have heard of it; see whether they run and keep up, or demand fewer",
            )
            .with_source(message);
        }
        Some(acks::UNTOLD) if message.starts_with("UNTOLD NOPERM") => {
            return Error::misconfigured(
                "the user may not ask how many replicas have heard of it; allow it +wait, or do without replicas()",
            )
            .with_source(message);
        }
        Some(acks::UNTOLD) => {
            return Error::unavailable("the server does not say how many replicas have heard of it")
                .with_source(message);
        }
        Some("NORUN") => {
            return Error::misconfigured("restart_guard() needs a server that has a run_id; leave it out")
                .with_source(message);
        }
        Some("CROSSSLOT") => "the keys of the lock lie in several slots",
        _ => "the server refused",
    };
    Error::unavailable(remedy).with_source(message).settled()
}

/// Whole milliseconds, never less. The server counts from the start of the millisecond in which it got
/// the request, and to the end of the last one, so that nothing ends early.
pub(crate) fn millis(time: Duration) -> Vec<u8> {
    time.as_nanos().div_ceil(1_000_000).to_string().into_bytes()
}

pub(crate) fn limit(mode: Mode) -> u32 {
    match mode {
        Mode::Permit { limit } => limit,
        _ => 0,
    }
}

pub(crate) fn kind(mode: Mode) -> Option<&'static [u8]> {
    match mode {
        Mode::Exclusive => None,
        Mode::Permit { .. } => Some(b"p"),
        _ => Some(b"r"),
    }
}
