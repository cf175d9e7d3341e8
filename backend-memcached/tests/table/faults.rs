//! What fails, and how it is made to.

use std::thread;
use std::time::{Duration, Instant};

use tenure_core::Moment;
use tenure_servers::{self as servers, Outcome, Plan, Stop, Trouble};

use crate::crew::{NAMES, TTL};
use crate::other::Other;
use crate::rows::{Road, Stage};

/// A column of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Killed,
    ServerStopped,
    HolderStopped,
    Flushed,
    MemoryFull,
    Evicted,
    RequestsDropped,
    AnswersDropped,
    Delayed,
    Duplicated,
    Reset,
}

use Fault::*;

/// What was done.
pub(crate) struct Struck {
    /// When it was over.
    pub(crate) healed: Moment,
    pub(crate) outage: Option<Outage>,
}

/// A time in which nothing could be granted.
#[derive(Clone, Copy)]
pub(crate) struct Outage {
    pub(crate) from: Moment,
    pub(crate) to: Moment,
    /// Whether nothing could be said of who holds what, either.
    pub(crate) silent: bool,
}

/// How long a server is down, gone or full; longer than a lease and than anybody waits for an answer.
const OUTAGE: Duration = Duration::from_millis(900);

/// How long a network makes trouble, and to how many of the requests.
const TROUBLE: Duration = Duration::from_millis(2400);
const SHARE: f64 = 0.3;

/// Later than a lease ends, but not than whoever comes next lets go: while the client still waits, and when it
/// does not.
const LATE: Duration = TTL.saturating_add(Duration::from_millis(30));
const DELAYS: &[Trouble] = &[
    // Most often what makes a holder that counts from the answer believe too long.
    Trouble::DelayReply(LATE),
    Trouble::DelayReply(LATE),
    Trouble::DelayReply(LATE),
    Trouble::DelayRequest(LATE),
    Trouble::DelayRequest(Duration::from_millis(600)),
    Trouble::DelayReply(Duration::from_millis(600)),
];
const REPETITIONS: &[Trouble] =
    &[Trouble::Duplicate, Trouble::DuplicateLater(Duration::from_millis(20)), Trouble::DuplicateLater(LATE)];

/// What a signal may take until it takes effect.
const MARGIN: Duration = Duration::from_millis(50);

impl Fault {
    pub(crate) const ALL: &[Self] = &[
        Killed,
        ServerStopped,
        HolderStopped,
        Flushed,
        MemoryFull,
        Evicted,
        RequestsDropped,
        AnswersDropped,
        Delayed,
        Duplicated,
        Reset,
    ];

    /// As a test is called.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Killed => "killed",
            ServerStopped => "server_stopped",
            HolderStopped => "holder_stopped",
            Flushed => "flushed",
            MemoryFull => "memory_full",
            Evicted => "evicted",
            RequestsDropped => "requests_dropped",
            AnswersDropped => "answers_dropped",
            Delayed => "delayed",
            Duplicated => "duplicated",
            Reset => "reset",
        }
    }

    /// As the page says it.
    pub(crate) fn about(self) -> &'static str {
        match self {
            Killed => "`kill -9` of the server, restart",
            ServerStopped => "the server hangs (`SIGSTOP`) for longer than a lease",
            HolderStopped => "a holder's process hangs (`SIGSTOP`) for longer than its leases",
            Flushed => "`flush_all`, again and again",
            MemoryFull => "there is no memory left for values of the size of a lock, `-M`",
            Evicted => "values of the size of a lock push others out",
            RequestsDropped => "requests are lost",
            AnswersDropped => "requests are carried out and their answers lost",
            Delayed => "requests and answers come later than the lease ends",
            Duplicated => "requests arrive twice, at once or after the lease has ended",
            Reset => "connections are reset, before and after a request arrived",
        }
    }

    /// What it needs between clients and servers.
    pub(crate) fn road(self) -> Road {
        if self.troubles().is_empty() { Road::Direct } else { Road::Proxied }
    }

    /// Makes it happen, and ends it.
    pub(crate) fn strike(self, stage: &mut dyn Stage, other: &Other, seed: u64) -> Outcome<Struck> {
        let mut outage = None;
        match self {
            Killed => {
                // At first it is back before leases end, then after that.
                let mut victims = stage.victims();
                victims.iter_mut().try_for_each(|server| server.restart())?;
                thread::sleep(TTL * 2);
                victims.iter_mut().for_each(|server| server.kill());
                outage = Some(wait_out(OUTAGE));
                victims.iter_mut().try_for_each(|server| server.restart())?;
            }
            ServerStopped => {
                let victims = stage.victims();
                victims.iter().try_for_each(|server| server.process().stop())?;
                thread::sleep(MARGIN);
                outage = Some(wait_out(OUTAGE));
                victims.iter().try_for_each(|server| server.process().go_on())?;
            }
            HolderStopped => {
                for _ in 0..2 {
                    other.process().stop()?;
                    thread::sleep(TTL * 2);
                    other.process().go_on()?;
                    thread::sleep(TTL / 2);
                }
            }
            Flushed => {
                for _ in 0..15 {
                    for server in stage.victims() {
                        server.command("flush_all")?;
                    }
                    thread::sleep(TTL / 4);
                }
            }
            MemoryFull => full(stage)?,
            Evicted => stage.victims().into_iter().try_for_each(|server| evict(server))?,
            RequestsDropped | AnswersDropped | Delayed | Duplicated | Reset => {
                for (number, proxy) in stage.proxies().iter().enumerate() {
                    proxy.plan(Plan::chance(seed.wrapping_add(number as u64), SHARE, self.troubles()));
                }
                thread::sleep(TROUBLE);
                stage.proxies().iter().for_each(|proxy| proxy.plan(Plan::Calm));
            }
        }
        Ok(Struck { healed: Moment::now(), outage })
    }

    /// What comes to requests on their way.
    pub(crate) fn troubles(self) -> &'static [Trouble] {
        match self {
            RequestsDropped => &[Trouble::DropRequest],
            AnswersDropped => &[Trouble::DropReply],
            Delayed => DELAYS,
            Duplicated => REPETITIONS,
            Reset => &[Trouble::ResetBefore, Trouble::ResetAfter],
            _ => &[],
        }
    }
}

fn wait_out(time: Duration) -> Outage {
    let from = Moment::now();
    thread::sleep(time);
    Outage { from, to: Moment::now(), silent: true }
}

/// Fills servers for a while, again and again, as locks that end make room.
fn full(stage: &mut dyn Stage) -> Outcome {
    let (began, mut fillers, mut refused) = (Instant::now(), 0, false);
    while began.elapsed() < OUTAGE {
        for server in stage.victims() {
            for length in lengths(server)? {
                refused |= fill(server, length, &mut fillers)?.contains("out of memory");
            }
        }
    }
    for server in stage.victims() {
        let all: Vec<String> = (0..fillers).map(|number| format!("delete {number:06} noreply")).collect();
        server.command(&all.join("\r\n"))?;
    }
    if refused { Ok(()) } else { Err(Stop::failed("no server was full")) }
}

/// Pushes out what a server had, locks among it.
fn evict(server: &servers::Memcached) -> Outcome {
    let (began, mut fillers) = (Instant::now(), 0);
    while began.elapsed() < OUTAGE {
        for length in lengths(server)? {
            fill(server, length, &mut fillers)?;
        }
    }
    if figure(server, "evictions")? == 0 {
        return Err(Stop::failed("nothing was evicted"));
    }
    Ok(())
}

/// The lengths of the values of locks.
fn lengths(server: &servers::Memcached) -> Outcome<Vec<usize>> {
    let keys = NAMES.map(|name| format!("mg lock:{name} s"));
    let said = server.command(&keys.join("\r\n"))?;
    Ok(said.lines().filter_map(|line| line.strip_prefix("HD s")?.trim().parse().ok()).collect())
}

/// Puts some values of a length, each under a key of its own, and returns what the server says.
fn fill(server: &servers::Memcached, length: usize, fillers: &mut u32) -> Outcome<String> {
    let (value, from) = ("x".repeat(length), *fillers);
    *fillers += 1000;
    let all = (from..*fillers).map(|number| format!("ms {number:06} {length} T3600\r\n{value}"));
    Ok(server.command(&all.collect::<Vec<_>>().join("\r\n"))?)
}

fn figure(server: &servers::Memcached, field: &str) -> Outcome<u64> {
    let stats = server.command("stats")?;
    let line = stats.lines().find_map(|line| line.strip_prefix(&format!("STAT {field} ")));
    line.and_then(|line| line.trim().parse().ok()).ok_or_else(|| Stop::failed(format!("no {field}")))
}
