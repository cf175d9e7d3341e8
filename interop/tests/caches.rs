//! What holds between django-cache-lock in memcached and our locks under the same keys, with both of the real
//! clients, and what does not.

use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tenure_core::{Breaking, Cause, Held, Inspect, Lock, Name};
use tenure_interop::{CACHES, Client, Driver};
use tenure_memcached::Memcached;
use tenure_servers::{self as servers, Outcome, Stop};

/// Something that must hold; it takes a lock of a name of its own.
type Check = fn(&mut Pair, &str) -> Outcome;

const CHECKS: &[(&str, Check)] = &[
    ("they_hold_and_we_are_denied", they_hold_and_we_are_denied),
    ("we_hold_and_they_are_denied", we_hold_and_they_are_denied),
    ("we_get_it_when_they_release", we_get_it_when_they_release),
    ("they_get_it_when_we_release", they_get_it_when_we_release),
    ("key_flags_and_value_are_as_theirs", key_flags_and_value_are_as_theirs),
    ("their_late_release_leaves_ours", their_late_release_leaves_ours),
    ("our_late_release_leaves_theirs", our_late_release_leaves_theirs),
    ("what_is_broken_of_theirs_is_free", what_is_broken_of_theirs_is_free),
    ("their_release_half_way_deletes_ours", their_release_half_way_deletes_ours),
    ("their_lifetimes_are_cut_to_whole_seconds", their_lifetimes_are_cut_to_whole_seconds),
];

/// The same on two servers, which it has for itself.
type PlacesCheck = fn(&'static Client) -> Outcome;

const PLACES: &[(&str, PlacesCheck)] = &[
    ("each_looks_where_the_other_does", each_looks_where_the_other_does),
    ("a_server_that_is_down_sends_them_elsewhere", a_server_that_is_down_sends_them_elsewhere),
];

fn main() -> ExitCode {
    let mut tests: Vec<(String, Box<dyn FnOnce() -> Outcome + Send>)> = Vec::new();
    for client in CACHES {
        let pair = Arc::new(Mutex::new(None));
        for (name, check) in CHECKS {
            let pair = pair.clone();
            let test = move || Pair::with(client, &pair, |pair| check(pair, name));
            tests.push((format!("{}::{name}", client.name), Box::new(test)));
        }
        for (name, check) in PLACES {
            tests.push((format!("{}::{name}", client.name), Box::new(move || check(client))));
        }
    }
    servers::run_all("interop", tests)
}

/// One of the others and us, on the same servers.
struct Pair {
    servers: Vec<servers::Memcached>,
    theirs: Driver,
    ours: Memcached,
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
            none => none.insert(Self::start(client, 1)?),
        };
        check(pair)
    }

    fn start(client: &'static Client, count: usize) -> Outcome<Self> {
        // Before servers are started for nothing.
        client.command("")?;
        let servers: Vec<_> = (0..count).map(|_| servers::memcached()).collect::<Result<_, _>>()?;
        let places: Vec<_> = servers.iter().map(|server| format!("127.0.0.1:{}", server.port())).collect();
        let places = places.join(",");
        let theirs = Driver::start(client, &places)?;
        let url = format!("memcache://{places}?profile=django&placement={}&quarantine=off", client.name);
        let ours = Memcached::connect(&url)?;
        Ok(Self { servers, theirs, ours })
    }

    fn lock(&self, name: &str) -> Lock<Memcached> {
        Lock::new(&self.ours, name)
    }

    fn take_theirs(&mut self, name: &str) -> Outcome {
        check(self.theirs.acquires(name)?, "they do not get a free lock")
    }

    fn release_theirs(&mut self, name: &str) -> Outcome {
        let answer = self.theirs.release(name)?;
        check(answer == "yes", format!("they cannot release their own: {answer}"))
    }

    /// Ends a lock as its lifetime does, without either side.
    fn expire(&self, name: &str) -> Outcome {
        let answer = self.servers[0].command(&format!("delete :1:lock:{name}"))?;
        check(answer == "DELETED\r\n", format!("there was no :1:lock:{name}: {answer}"))
    }

    /// The server that has a lock, by its number.
    fn place(&self, name: &str) -> Outcome<usize> {
        let mut places = Vec::new();
        for (place, server) in self.servers.iter().enumerate() {
            if server.command(&format!("mg :1:lock:{name}"))? == "HD\r\n" {
                places.push(place);
            }
        }
        match *places {
            [place] => Ok(place),
            _ => Err(Stop::failed(format!("{name} is on the servers {places:?}"))),
        }
    }
}

fn check(holds: bool, otherwise: impl Into<String>) -> Outcome {
    if holds { Ok(()) } else { Err(Stop::failed(otherwise.into())) }
}

/// For how long we are told to wait, when we are denied.
fn denied(lock: &Lock<Memcached>) -> Outcome<Option<Duration>> {
    match lock.try_acquire() {
        Err(error) if error.is_contended() => Ok(error.retry_after()),
        other => Err(Stop::failed(format!("we get what they hold: {other:?}"))),
    }
}

fn ours_and_free(held: Lock<Memcached, Held>) -> Outcome {
    held.renew()?;
    Ok(held.release()?)
}

fn they_hold_and_we_are_denied(pair: &mut Pair, name: &str) -> Outcome {
    pair.take_theirs(name)?;
    let left = denied(&pair.lock(name))?.unwrap_or_default();
    let minute = Duration::from_secs(30)..=Duration::from_secs(60);
    check(minute.contains(&left), format!("their lock lasts a minute, not {left:?}"))?;
    pair.release_theirs(name)?;
    ours_and_free(pair.lock(name).try_acquire()?)
}

fn we_hold_and_they_are_denied(pair: &mut Pair, name: &str) -> Outcome {
    let held = pair.lock(name).try_acquire()?;
    check(!pair.theirs.acquires(name)?, "they get what we hold")?;
    held.renew()?;
    check(!pair.theirs.acquires(name)?, "they get what we renewed")?;
    held.release()?;
    pair.take_theirs(name)?;
    pair.release_theirs(name)
}

fn we_get_it_when_they_release(pair: &mut Pair, name: &str) -> Outcome {
    pair.take_theirs(name)?;
    let lock = pair.lock(name);
    denied(&lock)?;
    let waiting = thread::spawn(move || lock.acquire_for(Duration::from_secs(10)));
    thread::sleep(Duration::from_millis(200));
    check(!waiting.is_finished(), "we wait for nobody")?;
    pair.release_theirs(name)?;
    ours_and_free(waiting.join().map_err(|_| Stop::failed("the waiter panicked"))??)
}

fn they_get_it_when_we_release(pair: &mut Pair, name: &str) -> Outcome {
    let held = pair.lock(name).try_acquire()?;
    check(!pair.theirs.acquires(name)?, "they get what we hold")?;
    let releasing = thread::spawn(move || {
        thread::sleep(Duration::from_millis(200));
        held.release()
    });
    check(pair.theirs.waits(name)?, "they do not get what we released")?;
    releasing.join().map_err(|_| Stop::failed("the holder panicked"))??;
    denied(&pair.lock(name))?;
    pair.release_theirs(name)
}

fn key_flags_and_value_are_as_theirs(pair: &mut Pair, name: &str) -> Outcome {
    let raw = |pair: &Pair| pair.servers[0].command(&format!("mg :1:lock:{name} f v"));
    pair.take_theirs(name)?;
    let token = pair.theirs.value(name)?;
    let there = raw(pair)?;
    check(there == format!("VA 36 f16\r\n{token}\r\n"), format!("theirs is not as known: {there}"))?;
    pair.release_theirs(name)?;
    let held = pair.lock(name).try_acquire()?;
    let there = raw(pair)?;
    check(there == format!("VA 32 f16\r\n{}\r\n", held.owner()), format!("ours is not as theirs: {there}"))?;
    // What they cannot read is an error of its own.
    let read = pair.theirs.value(name)?;
    check(read == held.owner().to_string(), format!("they read ours as {read}"))?;
    ours_and_free(held)
}

fn their_late_release_leaves_ours(pair: &mut Pair, name: &str) -> Outcome {
    pair.take_theirs(name)?;
    pair.expire(name)?;
    let held = pair.lock(name).try_acquire()?;
    check(pair.theirs.owns(name)? == "no", "they take ours for theirs")?;
    check(pair.theirs.release(name)? == "no", "they believe to have released theirs")?;
    ours_and_free(held)
}

fn our_late_release_leaves_theirs(pair: &mut Pair, name: &str) -> Outcome {
    let (renewed, released) = (pair.lock(name).try_acquire()?, {
        pair.expire(name)?;
        pair.lock(name).try_acquire()?
    });
    pair.expire(name)?;
    pair.take_theirs(name)?;
    let late = renewed.renew();
    check(late.as_ref().is_err_and(|error| error.is_lost()), format!("we renew theirs: {late:?}"))?;
    let late = released.release();
    check(
        late.as_ref().is_err_and(|error| error.cause() == Some(Cause::Superseded)),
        format!("we release theirs: {late:?}"),
    )?;
    check(pair.theirs.owns(name)? == "yes", "theirs is gone")?;
    pair.release_theirs(name)
}

fn what_is_broken_of_theirs_is_free(pair: &mut Pair, name: &str) -> Outcome {
    pair.take_theirs(name)?;
    let broken = pair.ours.force_release(&Name::new(name)?, Breaking::Safe, "a check")?;
    check(broken.is_some(), "we do not see theirs")?;
    check(pair.theirs.owns(name)? == "no", "they keep what is broken")?;
    ours_and_free(pair.lock(name).try_acquire()?)
}

/// Not safe, as it is among them: what they read and what they delete can be two locks.
fn their_release_half_way_deletes_ours(pair: &mut Pair, name: &str) -> Outcome {
    pair.take_theirs(name)?;
    pair.theirs.begins_to_release(name)?;
    pair.expire(name)?;
    let held = pair.lock(name).try_acquire()?;
    held.renew()?;
    let answer = pair.theirs.goes_on()?;
    check(answer == "yes", format!("they are told that it was theirs no more: {answer}"))?;
    // What is left: the next one gets it with a larger fence, and who had it is told.
    let next = pair.lock(name).try_acquire()?;
    check(next.fence() > held.fence(), "the fence does not grow")?;
    let late = held.renew();
    check(late.as_ref().is_err_and(|error| error.is_lost()), format!("we are not told: {late:?}"))?;
    ours_and_free(next)
}

/// Not what was asked for: it ends early, or never.
fn their_lifetimes_are_cut_to_whole_seconds(pair: &mut Pair, name: &str) -> Outcome {
    for (asked, kept) in [(20.9, 1..=20), (0.9, -1..=-1)] {
        check(pair.theirs.acquires_for(name, asked)?, "they do not get a free lock")?;
        let there = pair.servers[0].command(&format!("mg :1:lock:{name} t"))?;
        let left = there.trim_end().strip_prefix("HD t").and_then(|left| left.parse().ok());
        check(left.is_some_and(|left: i64| kept.contains(&left)), format!("{asked} s are kept as {there}"))?;
        let told = denied(&pair.lock(name))?;
        check(told.is_some() == (asked > 1.0), format!("we are told to wait {told:?} for {asked} s"))?;
        pair.release_theirs(name)?;
    }
    ours_and_free(pair.lock(name).try_acquire()?)
}

fn each_looks_where_the_other_does(client: &'static Client) -> Outcome {
    let mut pair = Pair::start(client, 2)?;
    for number in 0..12 {
        let name = format!("order:{number}");
        pair.take_theirs(&name)?;
        let place = pair.place(&name)?;
        denied(&pair.lock(&name))?;
        pair.release_theirs(&name)?;
        let held = pair.lock(&name).try_acquire()?;
        check(pair.place(&name)? == place, format!("{name} is elsewhere here"))?;
        check(!pair.theirs.acquires(&name)?, "they get what we hold")?;
        held.release()?;
    }
    Ok(())
}

/// Not safe, as it is among them: their clients take another server for one that does not answer.
fn a_server_that_is_down_sends_them_elsewhere(client: &'static Client) -> Outcome {
    let mut pair = Pair::start(client, 2)?;
    let held = pair.lock("order").try_acquire()?;
    check(!pair.theirs.acquires("order")?, "they get what we hold")?;
    let place = pair.place("order")?;
    pair.servers[place].kill();
    // That of pymemcache fails a few times before, for two seconds.
    let until = Instant::now() + Duration::from_secs(10);
    while !pair.theirs.acquires("order").unwrap_or(false) {
        check(Instant::now() < until, "they wait for a server that is down")?;
        thread::sleep(Duration::from_millis(100));
    }
    let elsewhere = pair.servers[1 - place].command("mg :1:lock:order")?;
    check(elsewhere == "HD\r\n", format!("they hold it nowhere: {elsewhere}"))?;
    let ours = pair.lock("order").try_acquire();
    let refused = ours.as_ref().is_err_and(|error| error.is_unavailable());
    check(refused, format!("we look for it elsewhere: {ours:?}"))?;
    let renewed = held.renew();
    check(renewed.as_ref().is_err_and(|error| error.is_unavailable()), format!("we renew: {renewed:?}"))
}
