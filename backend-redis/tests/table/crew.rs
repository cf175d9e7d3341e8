//! Threads that get locks, work under them and let go, and write down what they believed.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tenure_conformance::history::{Event, Gate};
use tenure_core::{Fence, Moment, Owner};

use crate::store::{Holding, Store};

/// The lifetime of their leases.
pub(crate) const TTL: Duration = Duration::from_millis(250);

/// How long those who wait do so.
pub(crate) const WAIT: Duration = Duration::from_millis(600);

/// What they work on; each is a lock and a gate.
pub(crate) const NAMES: [&str; 2] = ["a", "b"];

/// How often a holder looks whether it still believes.
const LOOK: Duration = Duration::from_millis(2);

/// Where events are told.
pub(crate) type Tell = Arc<dyn Fn(Event) + Send + Sync>;

/// Threads at work.
pub(crate) struct Crew {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<io::Result<()>>>,
}

impl Crew {
    /// Starts as many threads, called `label` and a number, whose gates are in a folder.
    pub(crate) fn start(
        store: &Store,
        label: &str,
        size: usize,
        folder: &Path,
        seed: u64,
        tell: &Tell,
    ) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let threads = (0..size).map(|number| {
            let gates = NAMES.map(|name| Gate::open(folder, name));
            let [a, b] = gates;
            let worker = Worker {
                store: store.clone(),
                who: format!("{label}-{number}"),
                gates: [a?, b?],
                draws: StdRng::seed_from_u64(seed.wrapping_add(number as u64)),
                tell: tell.clone(),
                stop: stop.clone(),
                last: None,
            };
            thread::Builder::new().name(worker.who.clone()).spawn(|| worker.work())
        });
        Ok(Self { threads: threads.collect::<io::Result<_>>()?, stop })
    }

    /// Lets them finish what they are at.
    pub(crate) fn stop(self) -> io::Result<()> {
        self.stop.store(true, Ordering::SeqCst);
        self.threads.into_iter().try_for_each(|thread| {
            thread.join().unwrap_or_else(|_| Err(io::Error::other("a thread of the crew panicked")))
        })
    }
}

struct Worker {
    store: Store,
    who: String,
    gates: [Gate; 2],
    draws: StdRng,
    tell: Tell,
    stop: Arc<AtomicBool>,
    /// What it held before, and let go of.
    last: Option<(usize, Owner, Fence)>,
}

/// How a lock is held.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Within its lease.
    Briefly,
    /// Renewed in the background.
    Kept,
    /// Renewed by hand.
    Renewed,
    /// Until it is lost, and then written once more as if it were not.
    ToTheEnd,
}

impl Worker {
    fn work(mut self) -> io::Result<()> {
        while !self.stop.load(Ordering::SeqCst) {
            self.turn()?;
            // One that comes late, as after a long pause, and must be refused if anybody came since.
            if let Some((which, owner, fence)) = self.last.take_if(|_| self.draws.random_ratio(1, 8)) {
                self.gates[which].read(owner, fence)?;
            }
        }
        Ok(())
    }

    fn turn(&mut self) -> io::Result<()> {
        let which = usize::from(self.draws.random_ratio(1, 3));
        let limit = self.draws.random_bool(0.5).then_some(WAIT);
        let (way, time) = match self.draws.random_range(0..10) {
            0..6 => (Way::Briefly, self.draws.random_range(5..60)),
            6..8 => (Way::Kept, self.draws.random_range(100..450)),
            8 => (Way::Renewed, self.draws.random_range(100..400)),
            _ => (Way::ToTheEnd, 10_000),
        };
        let asked = Moment::now();
        let held = self.store.acquire(NAMES[which], TTL, way == Way::Kept, limit);
        let answered = Moment::now();
        match held {
            Ok(held) => {
                let event =
                    Event::granted(&self.who, NAMES[which], held.owner(), held.fence(), asked, answered);
                self.hold(which, held, way, Duration::from_millis(time), event)
            }
            Err(error) => {
                (self.tell)(Event::refused(
                    &self.who,
                    NAMES[which],
                    &error,
                    limit.is_some(),
                    asked,
                    answered,
                ));
                thread::sleep(Duration::from_millis(self.draws.random_range(2..20)));
                Ok(())
            }
        }
    }

    fn hold(
        &mut self,
        which: usize,
        held: Holding,
        way: Way,
        time: Duration,
        event: Event,
    ) -> io::Result<()> {
        let (owner, fence) = (held.owner(), held.fence());
        let read = self.gates[which].read(owner, fence)?;
        let end = event.answered() + time;
        let mut renew_at = event.answered() + TTL / 3;
        let mut believed = event.answered();
        let lost = loop {
            // Before it is asked: at that moment it believed if it does now.
            let now = Moment::now();
            if !held.is_held() {
                break true;
            }
            believed = now;
            if now >= end || (self.stop.load(Ordering::SeqCst) && way != Way::ToTheEnd) {
                break false;
            }
            if way == Way::Renewed && now >= renew_at {
                // What became of it is what it believes afterwards.
                drop(held.renew());
                renew_at = now + TTL / 3;
            }
            thread::sleep(LOOK);
        };
        if let Some(value) = read.filter(|_| !lost || way == Way::ToTheEnd) {
            self.gates[which].write(owner, fence, value + 1)?;
        }
        (self.tell)(event.believed_until(believed));
        if self.draws.random_ratio(1, 5) {
            drop(held)
        } else {
            drop(held.release())
        }
        self.last = Some((which, owner, fence));
        Ok(())
    }
}
