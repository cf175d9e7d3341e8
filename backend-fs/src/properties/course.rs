//! Random courses of acquisitions, releases and damages, one after another.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use tenure_core::{Breaking, Error, Fence, Held, Inspect, Lock, Name, Owner};

use super::damage::{Damage, Past, damages};
use super::{cases, open, record_of};
use crate::Files;

const MAX_TTL: Duration = Duration::from_millis(40);

#[derive(Clone, Debug)]
enum Step {
    /// Through one of two handles, as two processes have them, or through a new one; with damages to
    /// the record just before.
    Acquire(Vec<Damage>, u8, How),
    Renew(Index),
    Release(Index),
    Drop(Index),
    Look(u8),
    /// With a token that nobody has, and with that of a grant that was dropped.
    Restore(u8, Index),
    Break,
    Collect,
    Pause(u64),
}

#[derive(Clone, Copy, Debug)]
enum How {
    Fixed,
    Kept,
    Session,
    Detached,
}

fn steps() -> impl Strategy<Value = Step> {
    let index = any::<Index>;
    let acquire = |damages_before| {
        let how = prop_oneof![Just(How::Fixed), Just(How::Kept), Just(How::Session), Just(How::Detached)];
        (vec(damages(), damages_before), 0..3_u8, how)
            .prop_map(|(damages, handle, how)| Step::Acquire(damages, handle, how))
    };
    prop_oneof![
        6 => acquire(0..1),
        8 => acquire(1..3),
        2 => index().prop_map(Step::Renew),
        2 => index().prop_map(Step::Release),
        1 => index().prop_map(Step::Drop),
        1 => (0..3_u8).prop_map(Step::Look),
        1 => (0..3_u8, index()).prop_map(|(handle, which)| Step::Restore(handle, which)),
        1 => Just(Step::Break),
        1 => Just(Step::Collect),
        2 => (1..30_u64).prop_map(Step::Pause),
        // Longer than any lease or quarantine.
        1 => Just(Step::Pause(50)),
    ]
}

/// A store, who holds its one lock, and what its record was before.
struct Course<'f> {
    folder: &'f Path,
    handles: [Files; 2],
    holders: Vec<Lock<Files, Held>>,
    /// The tokens of what was dropped, some of it without a release.
    left: Vec<Owner>,
    past: Past,
    last: Fence,
}

impl<'f> Course<'f> {
    fn new(folder: &'f Path) -> Self {
        let handles = [open(folder, MAX_TTL), open(folder, MAX_TTL)];
        drop(Lock::new(&handles[0], "another").session().try_acquire().expect("it is free"));
        let another = fs::read(record_of(folder, "another")).expect("it was made just now");
        let past = Past { another, ..Past::default() };
        Self { folder, handles, holders: Vec::new(), left: Vec::new(), past, last: Fence::ZERO }
    }

    fn lock(&self, handle: u8) -> Lock<Files> {
        let files =
            self.handles.get(usize::from(handle)).cloned().unwrap_or_else(|| open(self.folder, MAX_TTL));
        Lock::new(&files, "a")
    }

    fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match step {
            Step::Acquire(damages, handle, how) => {
                let record = record_of(self.folder, "a");
                for damage in damages {
                    damage.act(&record, &self.past);
                }
                let lock = self.lock(*handle);
                let lock = match how {
                    How::Fixed => lock.ttl(MAX_TTL),
                    How::Kept => lock,
                    How::Session => lock.session(),
                    How::Detached => lock.ttl(MAX_TTL).release_on_drop(false),
                };
                let before = fs::read(&record).unwrap_or_default();
                match lock.try_acquire() {
                    Ok(held) => {
                        self.is_right(&held)?;
                        self.past.older.push(before);
                        self.holders.push(held);
                    }
                    Err(error) => is_expected(&error)?,
                }
            }
            Step::Renew(which) if !self.holders.is_empty() => {
                let held = which.get(&self.holders);
                if let Err(error) = held.renew() {
                    prop_assert!(error.is_lost() || error.is_misconfigured(), "{error}");
                }
            }
            Step::Release(which) if !self.holders.is_empty() => {
                let held = self.holders.swap_remove(which.index(self.holders.len()));
                if let Err(error) = held.release() {
                    prop_assert!(error.is_lost() || error.is_misconfigured(), "{error}");
                }
            }
            Step::Drop(which) if !self.holders.is_empty() => {
                let held = self.holders.swap_remove(which.index(self.holders.len()));
                self.left.push(held.owner());
            }
            Step::Look(handle) => {
                let lock = self.lock(*handle);
                let name = Name::new("a").expect("it is a name");
                if let Some(seen) = lock.store().inspect(&name).expect("looking cannot fail") {
                    prop_assert_eq!(seen.name(), &name);
                }
                prop_assert!(lock.store().list("").expect("looking cannot fail").len() <= 2);
            }
            Step::Restore(handle, which) => {
                let lock = self.lock(*handle);
                prop_assert!(lock.restore(Owner::random()).is_err(), "nobody has this token");
                if !self.left.is_empty()
                    && let owner = self.left.swap_remove(which.index(self.left.len()))
                    && let Ok(held) = lock.restore(owner)
                {
                    prop_assert!(!self.is_believed(), "restored as {held:?} over {:?}", self.holders);
                    self.holders.push(held);
                }
            }
            Step::Break => {
                let name = Name::new("a").expect("it is a name");
                // Opens when the holder acknowledges or its lease ends, so never makes two.
                match self.handles[0].force_release(&name, Breaking::Safe, "why") {
                    Ok(Some(seen)) => self.last = self.last.max(seen.fence()),
                    Ok(None) => {}
                    Err(error) => is_expected(&error)?,
                }
            }
            Step::Collect => drop(self.handles[1].collect(Duration::ZERO).expect("the folder can be read")),
            Step::Pause(millis) => thread::sleep(Duration::from_millis(*millis)),
            _ => {}
        }
        Ok(())
    }

    /// What was granted is above all that was granted before, and nobody else believes.
    fn is_right(&mut self, held: &Lock<Files, Held>) -> Result<(), TestCaseError> {
        prop_assert!(!self.is_believed(), "granted to {held:?} over {:?}", self.holders);
        prop_assert!(held.fence() > self.last, "{} after {}", held.fence(), self.last);
        self.last = held.fence();
        Ok(())
    }

    fn is_believed(&self) -> bool {
        self.holders.iter().any(|held| held.is_held())
    }
}

/// That it is held, or cannot be given for a reason that is told; not that the store fails.
fn is_expected(error: &Error) -> Result<(), TestCaseError> {
    let late = error.is_unavailable() && error.to_string().contains("already run out");
    let told = error.is_contended() || error.is_quarantined() || error.is_misconfigured();
    prop_assert!(told || late, "{error}");
    Ok(())
}

proptest! {
    #![proptest_config(cases(8))]

    #[test]
    fn nobody_is_granted_what_another_believes_in_whatever_is_done_to_the_record(
        steps in vec(steps(), 1..30),
    ) {
        let folder = tempfile::tempdir().expect("a folder for the case");
        let mut course = Course::new(folder.path());
        for step in &steps {
            course.step(step)?;
        }
        // Once all are gone, it is had again, unless somebody must look at the file first.
        course.holders.clear();
        match course.lock(2).session().acquire_for(Duration::from_secs(5)) {
            Ok(held) => course.is_right(&held)?,
            Err(error) => prop_assert!(error.is_misconfigured(), "{error}"),
        }
    }
}
