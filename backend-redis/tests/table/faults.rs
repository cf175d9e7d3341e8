//! What fails, and how it is made to.

use std::io;
use std::thread;
use std::time::Duration;

use tenure_core::Moment;
use tenure_servers::{self as servers, Outcome, Plan, Stop, Trouble};

use crate::crew::TTL;
use crate::other::Other;
use crate::rows::{Road, Stage};

/// A column of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    KilledWithData,
    KilledWithoutData,
    ServerStopped,
    HolderStopped,
    ConnectionsKilled,
    ScriptsForgotten,
    KeysFlushed,
    MemoryFull,
    KeysEvicted,
    ReplicaPromoted,
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

/// How long a server is down, or gone; longer than a lease and than anybody waits for an answer.
const OUTAGE: Duration = Duration::from_millis(900);

/// How long a network makes trouble, and to how many of the requests.
const TROUBLE: Duration = Duration::from_millis(1800);
const SHARE: f64 = 0.4;

/// Later than a lease ends: while the client still waits, and when it does not.
const LATE: Duration = TTL.saturating_add(Duration::from_millis(80));
const LATER: Duration = TTL.saturating_mul(3);
const DELAYS: &[Trouble] = &[
    Trouble::DelayRequest(LATE),
    Trouble::DelayRequest(LATER),
    Trouble::DelayReply(LATE),
    Trouble::DelayReply(LATE),
    Trouble::DelayReply(LATER),
];
const REPETITIONS: &[Trouble] =
    &[Trouble::Duplicate, Trouble::DuplicateLater(Duration::from_millis(20)), Trouble::DuplicateLater(LATE)];

/// What a signal or a setting may take until it takes effect.
const MARGIN: Duration = Duration::from_millis(50);

impl Fault {
    pub(crate) const ALL: &[Self] = &[
        KilledWithData,
        KilledWithoutData,
        ServerStopped,
        HolderStopped,
        ConnectionsKilled,
        ScriptsForgotten,
        KeysFlushed,
        MemoryFull,
        KeysEvicted,
        ReplicaPromoted,
        RequestsDropped,
        AnswersDropped,
        Delayed,
        Duplicated,
        Reset,
    ];

    /// As a test is called.
    pub(crate) fn name(self) -> &'static str {
        match self {
            KilledWithData => "killed_with_data",
            KilledWithoutData => "killed_without_data",
            ServerStopped => "server_stopped",
            HolderStopped => "holder_stopped",
            ConnectionsKilled => "connections_killed",
            ScriptsForgotten => "scripts_forgotten",
            KeysFlushed => "keys_flushed",
            MemoryFull => "memory_full",
            KeysEvicted => "keys_evicted",
            ReplicaPromoted => "replica_promoted",
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
            KilledWithData => "`kill -9` of the server, restart with its data",
            KilledWithoutData => "`kill -9` of the server, restart without data",
            ServerStopped => "the server hangs (`SIGSTOP`) for longer than a lease",
            HolderStopped => "a holder's process hangs (`SIGSTOP`) for longer than its leases",
            ConnectionsKilled => "`CLIENT KILL`, again and again",
            ScriptsForgotten => "`SCRIPT FLUSH`, again and again",
            KeysFlushed => "`FLUSHALL`, again and again",
            MemoryFull => "`maxmemory` is reached, `noeviction`",
            KeysEvicted => "`maxmemory` is reached, `allkeys-random`",
            ReplicaPromoted => "the master is lost with its latest grants, a replica is promoted",
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
        let is_down = stage.is_down_with_them();
        let outage = match self {
            KilledWithData | KilledWithoutData => {
                // At first it is back before leases end, then after that.
                let mut victims = stage.victims();
                self.restart(&mut victims)?;
                thread::sleep(TTL * 2);
                victims.iter_mut().for_each(|server| server.kill());
                let outage = wait_out(OUTAGE);
                self.restart(&mut victims)?;
                Some(outage)
            }
            ServerStopped => {
                let victims = stage.victims();
                victims.iter().try_for_each(|server| server.process().stop())?;
                thread::sleep(MARGIN);
                let outage = wait_out(OUTAGE);
                victims.iter().try_for_each(|server| server.process().go_on())?;
                Some(outage)
            }
            HolderStopped => {
                for _ in 0..2 {
                    other.process().stop()?;
                    thread::sleep(TTL * 2);
                    other.process().go_on()?;
                    thread::sleep(TTL / 2);
                }
                None
            }
            ConnectionsKilled => {
                let kill = ["CLIENT KILL TYPE normal", "CLIENT KILL TYPE pubsub"];
                repeat(stage, 15, &kill)?
            }
            ScriptsForgotten => repeat(stage, 15, &["SCRIPT FLUSH"])?,
            KeysFlushed => repeat(stage, 15, &["FLUSHALL"])?,
            MemoryFull => {
                configure(stage, "maxmemory 1")?;
                let outage = wait_out(OUTAGE);
                configure(stage, "maxmemory 0")?;
                // A full server still knows who holds what, and may say so.
                Some(Outage { silent: false, ..outage })
            }
            KeysEvicted => {
                evict(stage)?;
                None
            }
            ReplicaPromoted => {
                stage.promote()?;
                None
            }
            RequestsDropped | AnswersDropped | Delayed | Duplicated | Reset => {
                for (number, proxy) in stage.proxies().iter().enumerate() {
                    proxy.plan(Plan::chance(seed.wrapping_add(number as u64), SHARE, self.troubles()));
                }
                thread::sleep(TROUBLE);
                stage.proxies().iter().for_each(|proxy| proxy.plan(Plan::Calm));
                None
            }
        };
        Ok(Struck { healed: Moment::now(), outage: outage.filter(|_| is_down) })
    }

    fn restart(self, victims: &mut [&mut servers::Redis]) -> Outcome {
        for server in victims {
            if self == KilledWithData { server.restart()? } else { server.restart_empty()? }
        }
        Ok(())
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

/// Says the same to the victims several times.
fn repeat(stage: &mut dyn Stage, times: usize, lines: &[&str]) -> Outcome<Option<Outage>> {
    for _ in 0..times {
        for server in stage.victims() {
            lines.iter().try_for_each(|line| say(server, line).map(drop))?;
        }
        thread::sleep(TTL / 4);
    }
    Ok(None)
}

fn configure(stage: &mut dyn Stage, setting: &str) -> Outcome {
    for server in stage.victims() {
        say(server, &format!("CONFIG SET {setting}"))?;
    }
    Ok(())
}

/// Fills the servers until they throw out what they had, locks among it.
fn evict(stage: &mut dyn Stage) -> Outcome {
    for server in stage.victims() {
        let used: u64 = figure(server, "memory", "used_memory")?;
        say(server, "CONFIG SET maxmemory-policy allkeys-random")?;
        say(server, &format!("CONFIG SET maxmemory {}", used + 500_000))?;
    }
    for number in 0..80 {
        for server in stage.victims() {
            // It may be refused: then nothing was left to throw out at this moment.
            server.command(&format!("SETRANGE filler{number} 100000 x"))?;
        }
        thread::sleep(Duration::from_millis(10));
    }
    for server in stage.victims() {
        say(server, "CONFIG SET maxmemory 0")?;
        if figure(server, "stats", "evicted_keys")? == 0 {
            return Err(Stop::failed("nothing was evicted"));
        }
    }
    Ok(())
}

fn figure(server: &servers::Redis, section: &str, field: &str) -> Outcome<u64> {
    let info = server.command(&format!("INFO {section}"))?;
    let line = info.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    let number = line.and_then(|line| line.trim().parse().ok());
    number.ok_or_else(|| Stop::failed(format!("no {field} in {info:?}")))
}

fn say(server: &servers::Redis, line: &str) -> io::Result<String> {
    let answer = server.command(line)?;
    if answer.starts_with('-') {
        return Err(io::Error::other(format!("{line}: {answer}")));
    }
    Ok(answer)
}
