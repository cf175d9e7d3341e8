//! What a case has at hand.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use tenure_core::{Cause, Error, Kind, Moment, Settings, Status};

use crate::agent::Agent;
use crate::driver::{Store, TestHeld};
use crate::failure::{Failure, Outcome, check};
use crate::spec::Spec;
use crate::subject::{Subject, TestLock};

/// How a suite opens its store.
pub(crate) type Open = dyn Fn(&Spec) -> tenure_core::Result<Store> + Send + Sync;

/// How a suite makes its store unreachable, and by what is returned reachable again.
pub(crate) type MakeOutage = dyn Fn(&Spec) -> Box<dyn FnOnce()> + Send + Sync;

/// How a suite counts who waits for a key in the store's own queue.
pub(crate) type Waiting = dyn Fn(&str) -> usize + Send + Sync;

/// How long anything may take that should happen soon, on a machine that is busy with other cases.
pub(crate) const SOON: Duration = Duration::from_secs(10);

/// What a case has at hand: the store, names of its own, and other processes.
pub(crate) struct Ctx {
    pub(crate) suite: String,
    pub(crate) case: &'static str,
    pub(crate) open: Arc<Open>,
    pub(crate) outage: Option<Arc<MakeOutage>>,
    pub(crate) waiting: Option<Arc<Waiting>>,
    pub(crate) spec: Spec,
    pub(crate) subject: Subject,
    pub(crate) dir: PathBuf,
    /// Whether the place is a directory, of which a case can have one of its own.
    pub(crate) places: bool,
    pub(crate) shortest_ttl: Duration,
    pub(crate) grain: Duration,
    pub(crate) lateness: Duration,
}

impl Ctx {
    /// A name that no other case uses.
    pub(crate) fn name(&self) -> String {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        format!("{}/{}/{}", self.case, std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
    }

    /// A lock with a name that no other case uses.
    pub(crate) fn lock(&self) -> TestLock {
        self.subject.lock(self.name())
    }

    /// The shortest lifetime that a case can let pass on this store without trouble.
    pub(crate) fn ttl(&self) -> Duration {
        self.shortest_ttl
    }

    /// By how much a lease may end late on this store.
    pub(crate) fn grain(&self) -> Duration {
        self.grain
    }

    /// Lets a lease that begins now end, for those too who ask for the first time afterwards.
    pub(crate) fn outlive(&self, ttl: Duration) {
        sleep_until(Moment::now() + ttl + self.grain + self.lateness);
    }

    /// Long enough for a case to be over before.
    pub(crate) fn long(&self) -> Duration {
        Duration::from_secs(120)
    }

    pub(crate) fn settings(&self) -> Settings {
        self.spec.settings().clone()
    }

    /// Settings under which locks without a ttl have the shortest lease.
    pub(crate) fn short_lease(&self) -> Outcome<Settings> {
        Ok(self.settings().with_lease(self.ttl())?)
    }

    /// Opens the store once more: another handle, with waiting lines of its own.
    pub(crate) fn reopen(&self) -> Outcome<Subject> {
        self.open_with(self.settings())
    }

    pub(crate) fn open_with(&self, settings: Settings) -> Outcome<Subject> {
        Ok(Subject::new((self.open)(&self.spec.with_settings(settings))?))
    }

    /// A store that can be made unreachable: where places are directories, one that no other case
    /// uses.
    pub(crate) fn outage(&self) -> Outcome<Outage> {
        let begin = self.outage.clone().ok_or_else(|| Failure::new("the case does not say its need"))?;
        let mut spec = self.spec.clone();
        if self.places {
            spec = Spec::new(self.file("outage").display().to_string());
        }
        let subject = Subject::new((self.open)(&spec)?);
        // What is made at the first use is there.
        subject.lock(self.name()).try_acquire()?.release()?;
        Ok(Outage { subject, spec, begin, end: None })
    }

    /// Returns when so many wait for a lock of this handle of the store.
    #[track_caller]
    pub(crate) fn until_waiting(&self, lock: &TestLock, count: usize) -> Outcome {
        let key = [self.subject.prefix(), lock.name().as_str()].concat();
        let waiting = || match &self.waiting {
            Some(waiting) => waiting(&key),
            None => self.subject.store().site().waiting(&key),
        };
        // A store that is its own queue has to be asked itself.
        eventually(SOON, "the waiters that the site, or else `Suite::waiting`, tells of", || {
            waiting() == count
        })
    }

    /// A lock whose holder was dropped: free at the first question where releasing blocks, within a
    /// second where it is left to a task.
    #[track_caller]
    pub(crate) fn after_drop(&self, lock: &TestLock) -> Outcome<TestHeld> {
        free_within(lock, self.subject.store().lets_go_within(), "a name whose holder was dropped")
    }

    /// Another process that has the store open.
    pub(crate) fn agent(&self) -> Outcome<Agent> {
        self.agent_with(self.settings())
    }

    pub(crate) fn agent_with(&self, settings: Settings) -> Outcome<Agent> {
        Agent::start(&self.suite, &self.spec.with_settings(settings))
    }

    /// A file of this case, for what cases protect with locks.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{}.{name}", self.case))
    }
}

/// A store that is or will be unreachable; reachable again when this is dropped.
pub(crate) struct Outage {
    subject: Subject,
    spec: Spec,
    begin: Arc<MakeOutage>,
    end: Option<Box<dyn FnOnce()>>,
}

impl Outage {
    pub(crate) fn subject(&self) -> &Subject {
        &self.subject
    }

    pub(crate) fn begin(mut self) -> Self {
        self.end = Some((self.begin)(&self.spec));
        self
    }

    pub(crate) fn end(self) -> Subject {
        self.subject.clone()
    }
}

impl Drop for Outage {
    fn drop(&mut self) {
        if let Some(end) = self.end.take() {
            end();
        }
    }
}

/// Expects that somebody else has the lock.
#[track_caller]
pub(crate) fn denied(result: tenure_core::Result<TestHeld>, why: &str) -> Outcome<Error> {
    refused(result, Kind::Contended, why)
}

/// Expects an error of a kind.
#[track_caller]
pub(crate) fn refused<T>(result: tenure_core::Result<T>, kind: Kind, why: &str) -> Outcome<Error> {
    match result {
        Err(error) if error.kind() == kind => Ok(error),
        Err(error) => Err(Failure::unexpected(&format!("{why}: expected {kind:?}"), &error)),
        Ok(_) => Err(Failure::new(format!("{why}: expected {kind:?}, saw success"))),
    }
}

/// Asks until the lock is granted; a failure if it is not within `limit`.
#[track_caller]
pub(crate) fn free_within(lock: &TestLock, limit: Duration, why: &str) -> Outcome<TestHeld> {
    let began = Moment::now();
    loop {
        match lock.try_acquire() {
            Ok(held) => return Ok(held),
            Err(error) if error.is_contended() => {}
            Err(error) => return Err(Failure::unexpected(&format!("{why}: expected a grant"), &error)),
        }
        if Moment::now().since(began) >= limit {
            return Err(Failure::new(format!("{why}: still taken after {limit:?}")));
        }
        thread::sleep(Duration::from_millis(2));
    }
}

/// Asks until `look` says yes; a failure if it does not within `limit`.
#[track_caller]
pub(crate) fn eventually(limit: Duration, why: &str, mut look: impl FnMut() -> bool) -> Outcome {
    let began = Moment::now();
    while !look() {
        if Moment::now().since(began) > limit {
            return Err(Failure::new(format!("{why}: not within {limit:?}")));
        }
        thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

/// Lets time pass where time is the subject.
pub(crate) fn sleep_until(moment: Moment) {
    loop {
        let left = moment.since(Moment::now());
        if left.is_zero() {
            return;
        }
        thread::sleep(left);
    }
}

/// Expects that the lock is taken, and stays so until `moment`.
#[track_caller]
pub(crate) fn taken_until(lock: &TestLock, moment: Moment, why: &str) -> Outcome {
    loop {
        let answer = lock.try_acquire();
        // An answer that came later says nothing about the time before.
        if Moment::now() >= moment {
            return Ok(());
        }
        denied(answer, why)?;
        thread::sleep(Duration::from_millis(5));
    }
}

/// Expects that a lock that is kept alive stays taken until `moment`.
#[track_caller]
pub(crate) fn kept_until(held: &TestHeld, probe: &TestLock, moment: Moment) -> Outcome {
    let kept = taken_until(probe, moment, "a lock that is kept alive");
    kept.map_err(|failure| failure.late_if(is_too_late(held)))
}

/// Whether a holder saw its lease end before it was renewed: the machine did not run it in time.
pub(crate) fn is_too_late(held: &TestHeld) -> bool {
    held.status() == Status::Lost(Cause::Expired)
}

/// Joins a thread of a case.
pub(crate) fn join<T>(thread: thread::ScopedJoinHandle<'_, Outcome<T>>) -> Outcome<T> {
    thread.join().map_err(|_| Failure::new("a thread of the case panicked"))?
}

/// Joins the threads of a case.
pub(crate) fn join_all<T>(threads: Vec<thread::ScopedJoinHandle<'_, Outcome<T>>>) -> Outcome<Vec<T>> {
    threads.into_iter().map(join).collect()
}

/// Expects that the numbers grow strictly in the order in which they were given.
pub(crate) fn growing(fences: &[tenure_core::Fence], why: &str) -> Outcome {
    for pair in fences.windows(2) {
        check!(pair[0] < pair[1], "{why}: expected fences that grow, saw {} before {}", pair[0], pair[1]);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tenure_core::testing::{Event, Scripted};

    use super::*;

    #[test]
    fn a_store_that_blocks_is_asked_once_for_a_lock_that_was_dropped() {
        let scripted = Scripted::new();
        let _taken = scripted.taken("a");
        let subject = Subject::new(Store::Blocking(scripted.clone().into()));
        let within = subject.store().lets_go_within();
        assert!(free_within(&subject.lock("a"), within, "a dropped lock").is_err());
        assert_eq!(scripted.events("a"), [Event::Denied]);
    }
}
