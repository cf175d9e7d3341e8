//! What holds between locks of other programs and ours, with the real programs.

use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tenure_core::{Breaking, Cause, Held, Inspect, Lock, Name};
use tenure_interop::{CLIENTS, Client, Driver};
use tenure_redis::Redis;
use tenure_servers::{self as servers, Outcome, Stop};

/// Something that must hold; it takes a lock of a name of its own.
type Check = fn(&mut Pair, &str) -> Outcome;

/// What must hold between each of them and us.
const CHECKS: &[(&str, Check)] = &[
    ("they_hold_and_we_are_denied", they_hold_and_we_are_denied),
    ("we_hold_and_they_are_denied", we_hold_and_they_are_denied),
    ("we_are_woken_when_they_release", we_are_woken_when_they_release),
    ("they_get_it_when_we_release", they_get_it_when_we_release),
    ("their_late_release_leaves_ours", their_late_release_leaves_ours),
    ("our_late_release_leaves_theirs", our_late_release_leaves_theirs),
    ("their_late_extension_leaves_ours", their_late_extension_leaves_ours),
    ("our_late_renewal_leaves_theirs", our_late_renewal_leaves_theirs),
    ("each_finds_its_own_to_be_held", each_finds_its_own_to_be_held),
    ("our_shares_and_permits_deny_them", our_shares_and_permits_deny_them),
    ("what_is_kept_or_broken_denies_them", what_is_kept_or_broken_denies_them),
];

fn main() -> ExitCode {
    let pairs: Vec<_> = CLIENTS.iter().map(|client| (client, Arc::new(Mutex::new(None)))).collect();
    let tests = pairs.iter().flat_map(|(client, pair)| {
        CHECKS.iter().map(move |(name, check)| {
            let (client, pair) = (*client, pair.clone());
            let test = move || Pair::with(client, &pair, |pair| check(pair, name));
            (format!("{}::{name}", client.name), test)
        })
    });
    servers::run_all("interop", tests.collect::<Vec<_>>())
}

/// One of the others and us, on the same server.
struct Pair {
    server: servers::Redis,
    theirs: Driver,
    ours: Redis,
}

impl Pair {
    /// Does something with a pair, which is started by whoever needs it first.
    fn with(
        client: &'static Client,
        pair: &Mutex<Option<Self>>,
        check: impl FnOnce(&mut Self) -> Outcome,
    ) -> Outcome {
        let mut pair = pair.lock().unwrap_or_else(PoisonError::into_inner);
        let pair = match &mut *pair {
            Some(pair) => pair,
            none => none.insert(Self::start(client)?),
        };
        check(pair)
    }

    fn start(client: &'static Client) -> Outcome<Self> {
        // Before a server is started for nothing.
        client.command("")?;
        let server = servers::Redis::with(&[])?;
        let theirs = Driver::start(client, &format!("{}0", server.url()))?;
        let ours = Redis::builder(&server.url()).profile(client.profile()).connect()?;
        Ok(Self { server, theirs, ours })
    }

    fn lock(&self, name: &str) -> Lock<Redis> {
        Lock::new(&self.ours, self.theirs.client().name_of(name))
    }

    /// Ends a lock as its lifetime does, without either side.
    fn expire(&self, name: &str) -> Outcome {
        let name = Name::new(self.theirs.client().name_of(name))?;
        let key = [tenure_core::Backend::site(&self.ours).settings().prefix(), name.as_str()].concat();
        let answer = self.server.command(&format!("DEL {key}"))?;
        check(answer == ":1\r\n", format!("there was no {key}: {answer}"))
    }

    fn take_theirs(&mut self, name: &str) -> Outcome {
        check(self.theirs.acquires(name)?, "they do not get a free lock")
    }

    fn free(&self, name: &str) -> Outcome {
        self.lock(name).try_acquire()?.release()?;
        Ok(())
    }
}

fn check(holds: bool, otherwise: impl Into<String>) -> Outcome {
    if holds { Ok(()) } else { Err(Stop::Failed(otherwise.into().into())) }
}

fn denied(lock: &Lock<Redis>) -> Outcome {
    match lock.try_acquire() {
        Err(error) if error.is_contended() => Ok(()),
        other => check(false, format!("we get what they hold: {other:?}")),
    }
}

/// They are told that it is not theirs, or are not told anything.
fn not_theirs(answer: &str) -> Outcome {
    check(["no", "done", "none"].contains(&answer), format!("they believe to hold it: {answer}"))
}

fn still_ours(held: &Lock<Redis, Held>) -> Outcome {
    held.renew()?;
    Ok(())
}

fn they_hold_and_we_are_denied(pair: &mut Pair, name: &str) -> Outcome {
    pair.take_theirs(name)?;
    denied(&pair.lock(name))?;
    let error = pair.lock(name).try_acquire().expect_err("it is theirs");
    let left = error.retry_after().unwrap_or_default();
    check(left > Duration::from_secs(30), format!("their lock lasts a minute, not {left:?}"))?;
    let answer = pair.theirs.release(name)?;
    check(["yes", "done"].contains(&&*answer), format!("they cannot release their own: {answer}"))?;
    pair.free(name)
}

fn we_hold_and_they_are_denied(pair: &mut Pair, name: &str) -> Outcome {
    let held = pair.lock(name).try_acquire()?;
    check(!pair.theirs.acquires(name)?, "they get what we hold")?;
    still_ours(&held)?;
    held.release()?;
    pair.take_theirs(name)?;
    pair.theirs.release(name)?;
    pair.free(name)
}

fn we_are_woken_when_they_release(pair: &mut Pair, name: &str) -> Outcome {
    pair.take_theirs(name)?;
    let lock = pair.lock(name);
    let waiting = thread::spawn(move || {
        let held = lock.acquire_for(Duration::from_secs(20));
        (Instant::now(), held)
    });
    let until = Instant::now() + Duration::from_secs(10);
    while !pair.server.command("CLIENT LIST TYPE pubsub")?.contains("sub=") {
        check(Instant::now() < until, "nobody listens")?;
    }
    // Long enough that it has asked, and waits.
    thread::sleep(Duration::from_millis(300));
    let released = Instant::now();
    pair.theirs.release(name)?;
    let (got, held) = waiting.join().map_err(|_| Stop::Failed("the waiter panicked".into()))?;
    held?.release()?;
    let took = got.duration_since(released);
    check(took < Duration::from_secs(1), format!("we get it after {took:?}, at the next look"))
}

fn they_get_it_when_we_release(pair: &mut Pair, name: &str) -> Outcome {
    let held = pair.lock(name).try_acquire()?;
    let releasing = thread::spawn(move || {
        thread::sleep(Duration::from_millis(200));
        held.release()
    });
    check(pair.theirs.waits(name)?, "they do not get what we released")?;
    releasing.join().map_err(|_| Stop::Failed("the holder panicked".into()))??;
    denied(&pair.lock(name))?;
    pair.theirs.release(name)?;
    pair.free(name)
}

fn their_late_release_leaves_ours(pair: &mut Pair, name: &str) -> Outcome {
    pair.take_theirs(name)?;
    pair.expire(name)?;
    let held = pair.lock(name).try_acquire()?;
    not_theirs(&pair.theirs.release(name)?)?;
    still_ours(&held)?;
    held.release()?;
    Ok(())
}

fn our_late_release_leaves_theirs(pair: &mut Pair, name: &str) -> Outcome {
    let held = pair.lock(name).try_acquire()?;
    pair.expire(name)?;
    pair.take_theirs(name)?;
    let late = held.release();
    check(
        late.as_ref().is_err_and(|error| error.cause() == Some(Cause::Superseded)),
        format!("we release theirs: {late:?}"),
    )?;
    denied(&pair.lock(name))?;
    let answer = pair.theirs.release(name)?;
    check(["yes", "done"].contains(&&*answer), format!("they cannot release their own: {answer}"))?;
    pair.free(name)
}

fn their_late_extension_leaves_ours(pair: &mut Pair, name: &str) -> Outcome {
    pair.take_theirs(name)?;
    let answer = pair.theirs.extend(name)?;
    check(["yes", "none"].contains(&&*answer), format!("they cannot extend their own: {answer}"))?;
    pair.expire(name)?;
    let held = pair.lock(name).ttl(Duration::from_secs(20)).try_acquire()?;
    not_theirs(&pair.theirs.extend(name)?)?;
    let error = pair.lock(name).try_acquire().expect_err("it is held");
    let left = error.retry_after().unwrap_or_default();
    check(left < Duration::from_secs(21), format!("they extended ours to {left:?}"))?;
    still_ours(&held)?;
    held.release()?;
    Ok(())
}

fn our_late_renewal_leaves_theirs(pair: &mut Pair, name: &str) -> Outcome {
    let held = pair.lock(name).try_acquire()?;
    pair.expire(name)?;
    pair.take_theirs(name)?;
    check(held.renew().is_err_and(|error| error.is_lost()), "we renew theirs")?;
    drop(held);
    denied(&pair.lock(name))?;
    pair.theirs.release(name)?;
    pair.free(name)
}

fn each_finds_its_own_to_be_held(pair: &mut Pair, name: &str) -> Outcome {
    pair.take_theirs(name)?;
    let answer = pair.theirs.owns(name)?;
    check(["yes", "none"].contains(&&*answer), format!("they do not know their own: {answer}"))?;
    let ours = Name::new(pair.theirs.client().name_of(name))?;
    check(pair.ours.inspect(&ours)?.is_some(), "we do not see theirs")?;
    pair.expire(name)?;
    let held = pair.lock(name).try_acquire()?;
    not_theirs(&pair.theirs.owns(name)?)?;
    held.release()?;
    check(pair.ours.inspect(&ours)?.is_none(), "we see what nobody holds")
}

fn our_shares_and_permits_deny_them(pair: &mut Pair, name: &str) -> Outcome {
    let shared = pair.lock(name).shared().try_acquire()?;
    check(!pair.theirs.acquires_shared(name)?, "they get what we share")?;
    shared.release()?;
    let permit = pair.lock(name).permit(3).try_acquire()?;
    check(!pair.theirs.acquires_shared(name)?, "they get what we have permits of")?;
    permit.release()?;
    pair.take_theirs(name)?;
    for shared in
        [pair.lock(name).shared().try_acquire().err(), pair.lock(name).permit(3).try_acquire().err()]
    {
        check(shared.is_some_and(|error| error.is_contended()), "we share what they hold")?;
    }
    pair.theirs.release(name)?;
    pair.free(name)
}

fn what_is_kept_or_broken_denies_them(pair: &mut Pair, name: &str) -> Outcome {
    // They had it before, so that they have something to compare.
    pair.take_theirs(name)?;
    pair.expire(name)?;
    let keep = Duration::from_secs(20);
    pair.lock(name).hold_at_least(keep).try_acquire()?.release()?;
    not_theirs(&pair.theirs.owns(name)?)?;
    not_theirs(&pair.theirs.release(name)?)?;
    check(!pair.theirs.acquires(name)?, "they get what is kept taken")?;
    let ours = Name::new(pair.theirs.client().name_of(name))?;
    pair.ours.force_release(&ours, Breaking::Now, "a check")?;
    pair.take_theirs(name)?;
    pair.ours.force_release(&ours, Breaking::Safe, "a check")?;
    not_theirs(&pair.theirs.owns(name)?)?;
    not_theirs(&pair.theirs.release(name)?)?;
    denied(&pair.lock(name))?;
    check(!pair.theirs.acquires(name)?, "they get what was broken and not acknowledged")?;
    pair.expire(name)?;
    pair.take_theirs(name)?;
    pair.expire(name)?;
    let held = pair.lock(name).try_acquire()?;
    pair.ours.force_release(&ours, Breaking::Safe, "a check")?;
    not_theirs(&pair.theirs.owns(name)?)?;
    not_theirs(&pair.theirs.release(name)?)?;
    check(!pair.theirs.acquires(name)?, "they get what we have not acknowledged")?;
    check(held.release().is_err_and(|error| error.cause() == Some(Cause::Forced)), "we are not told")?;
    pair.free(name)
}
