//! One cell: a configuration, a crew at work in two processes, and a fault.

use std::collections::HashSet;
use std::env;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tenure_conformance::history::{Breach, Event, Gate, History};
use tenure_core::{Kind, Moment};
use tenure_servers::Outcome;

use crate::crew::{Crew, NAMES, Tell, WAIT};
use crate::faults::{Fault, Outage};
use crate::other::{self, Other};
use crate::row::{Class, Row};

/// How many threads of this process are at work.
const SIZE: usize = 3;

/// How long they may take to get going.
const START: Duration = Duration::from_secs(15);

/// How long nothing fails between two faults.
const CALM: Duration = Duration::from_millis(300);

/// How long an attempt may take beyond what it waits: a connection and an answer, perhaps twice, and a
/// machine that does other things.
const IN_TIME: Duration = Duration::from_millis(2500);

/// What was found in a cell.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) found: Vec<Found>,
    seed: u64,
    round: u64,
    grants: usize,
    refused: usize,
    /// How many came to a gate that larger fences had passed.
    stale: usize,
}

/// Something that must not be; at least not everywhere.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) what: What,
    text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// What the history or a gate shows.
    Breach(Breach),
    /// Not everybody had the lock again when the fault was over.
    Stalled,
    /// A server that was down looked like something else, or granted.
    Masked,
    /// An attempt took too long.
    Late,
    /// Something was sent behind a request whose answer had not come.
    AskedAfterSilence,
    /// The fault came to nothing.
    Harmless,
}

/// Runs a cell, once or for as long as `TENURE_FAULTS_SECONDS` says.
pub(crate) fn run(row: &Row, fault: Fault) -> Outcome<Seen> {
    let seed = seed(row, fault);
    let mut stage = (row.start)(fault.road())?;
    let folder = tempfile::tempdir()?;
    let events: Arc<Mutex<Vec<Event>>> = Arc::default();
    let tell: Tell = {
        let events = events.clone();
        Arc::new(move |event| events.lock().unwrap_or_else(PoisonError::into_inner).push(event))
    };
    let other = Other::start(row, &stage.place(), folder.path(), seed ^ 1, &tell)?;
    let crew = Crew::start(&row.opened(&stage.place())?, "here", SIZE, folder.path(), seed, &tell)?;

    let all = SIZE + other::SIZE;
    let mut outages = Vec::new();
    let mut stuck = stalled(&events, all, Moment::from_nanos(0), START);
    let (began, mut round) = (Instant::now(), 0);
    while stuck.is_none() && (round == 0 || began.elapsed() < longer().unwrap_or_default()) {
        thread::sleep(CALM);
        let struck = fault.strike(&mut *stage, &other, seed.wrapping_add(round))?;
        outages.extend(struck.outage);
        stuck = stalled(&events, all, struck.healed, row.resumes);
        round += 1;
    }
    crew.stop()?;
    other.stop()?;

    let history: History =
        std::mem::take(&mut *events.lock().unwrap_or_else(PoisonError::into_inner)).into_iter().collect();
    let mut breaches = history.findings();
    let mut stale = 0;
    for name in NAMES {
        let passes = Gate::passes(folder.path(), name)?;
        stale += passes.iter().filter(|pass| !pass.is_accepted()).count();
        breaches.extend(history.findings_at(&passes));
    }
    let mut found: Vec<Found> = stuck.into_iter().collect();
    found.extend(breaches.iter().map(|breach| Found::new(What::Breach(breach.breach()), breach.to_string())));
    found.extend(history.events().iter().filter_map(|event| masked(event, &outages)));
    let stopped = |event: &Event| fault == Fault::HolderStopped && event.who().starts_with("other");
    found.extend(history.events().iter().filter(|event| !stopped(event)).filter_map(late));
    let proxies = stage.proxies();
    let after_silence: u64 = proxies.iter().map(|proxy| proxy.asked_after_silence()).sum();
    if after_silence > 0 && !row.multiplexed {
        let text =
            format!("{after_silence} requests were sent on connections on which an answer was missing");
        found.push(Found::new(What::AskedAfterSilence, text));
    }
    if !fault.troubles().is_empty() && proxies.iter().all(|proxy| proxy.troubles() == 0) {
        found.push(Found::new(What::Harmless, "no request met with trouble"));
    }
    let grants = history.events().iter().filter(|event| event.is_granted()).count();
    let seen = Seen { found, seed, round, grants, refused: history.events().len() - grants, stale };
    if longer().is_some() {
        // Best effort, for who looks on.
        let _ = writeln!(io::stderr(), "{}/{}: {seen}", row.name, fault.name());
    }
    Ok(seen)
}

impl Seen {
    /// What a class forbids.
    pub(crate) fn wrong(&self, class: Class) -> Vec<&Found> {
        let forgiven =
            |found: &&Found| class == Class::FenceOnly && found.what == What::Breach(Breach::Overlap);
        self.found.iter().filter(|found| !forgiven(found)).collect()
    }

    /// Some of it, and how to have it again.
    pub(crate) fn report(&self, wrong: &[&Found]) -> String {
        let few = wrong.iter().take(5).map(ToString::to_string).collect::<Vec<_>>().join("\n");
        format!(
            "{self}\n{} things must not be:\n{few}\nagain, as far as chance goes, with {SEED}={}",
            wrong.len(),
            self.seed
        )
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let overlaps = self.found.iter().filter(|found| found.what == What::Breach(Breach::Overlap)).count();
        let Self { round, grants, refused, stale, .. } = self;
        write!(
            f,
            "{round} times; {grants} grants, {refused} refusals, {overlaps} overlaps, {stale} stopped at a gate"
        )
    }
}

impl Found {
    fn new(what: What, text: impl Into<String>) -> Self {
        Self { what, text: text.into() }
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.what {
            // Their texts begin with it.
            What::Breach(_) => f.write_str(&self.text),
            what => write!(f, "{what:?}: {}", self.text),
        }
    }
}

/// Waits until everybody was granted a lock after a moment; else tells who was not.
fn stalled(events: &Mutex<Vec<Event>>, all: usize, since: Moment, patience: Duration) -> Option<Found> {
    let until = Instant::now() + patience;
    loop {
        let events = events.lock().unwrap_or_else(PoisonError::into_inner);
        let late = events.iter().filter(|event| event.is_granted() && event.answered() > since);
        let served: HashSet<&str> = late.map(Event::who).collect();
        if served.len() >= all {
            return None;
        }
        if Instant::now() > until {
            let last: Vec<_> = events.iter().rev().take(3).map(ToString::to_string).collect();
            let text =
                format!("{patience:?} later only {served:?} of {all} had a lock again; at last {last:#?}");
            return Some(Found::new(What::Stalled, text));
        }
        drop(events);
        thread::sleep(Duration::from_millis(10));
    }
}

/// A server that is down grants nothing, and nobody seems to hold a lock there.
fn masked(event: &Event, outages: &[Outage]) -> Option<Found> {
    let outage = outages.iter().find(|down| event.asked() >= down.from && event.answered() <= down.to)?;
    let told = event.is_refused_as(Kind::Unavailable)
        || (event.waited() && event.is_refused_as(Kind::TimedOut))
        || (!outage.silent && event.is_refused_as(Kind::Contended));
    (!told).then(|| Found::new(What::Masked, format!("while the server was down, {event}")))
}

/// Everything is answered in time, whatever fails.
fn late(event: &Event) -> Option<Found> {
    let took = event.answered().since(event.asked());
    (took > WAIT + IN_TIME).then(|| Found::new(What::Late, format!("after {took:?}: {event}")))
}

const SEED: &str = "TENURE_FAULTS_SEED";

/// Given, or drawn anew for each run.
fn seed(row: &Row, fault: Fault) -> u64 {
    let given = env::var(SEED).ok().and_then(|seed| seed.parse().ok());
    given.unwrap_or_else(|| RandomState::new().hash_one((row.name, fault.name())))
}

/// How long to stay in each cell, if that was asked for.
fn longer() -> Option<Duration> {
    env::var("TENURE_FAULTS_SECONDS").ok()?.parse().ok().map(Duration::from_secs)
}
