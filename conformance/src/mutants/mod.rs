//! Stores that are broken on purpose.
//!
//! A suite that cannot fail proves nothing. So here are two small stores that keep all the promises of
//! a [`Backend`](tenure_core::Backend), [`Model`] for the processes of a host and [`QueueModel`] inside
//! one, and a list of [`Fault`]s, each of which breaks one of them in one place. Every fault is caught by
//! some case, and every case catches some fault: [`Case::broken_by`](crate::Case::broken_by) names the
//! ones that it is tested with, and `MUTANTS.md` beside the source shows all that it catches.
//!
//! # For those who write a store
//!
//! `Model` is a whole store in some hundred lines, and each fault in it a place where stores go wrong. To
//! see what the suite says of one, judge it:
//!
//! ```no_run
//! use tenure_conformance::mutants::{self, Fault};
//!
//! fn main() {
//!     // Cases start this very program again, as other processes that have the same store open.
//!     mutants::obey_if_agent();
//!     let suite = mutants::suite(Fault::RenewShortens);
//!     println!("{:?}", suite.judge("a_renewal_never_shortens"));
//! }
//! ```
//!
//! A test of your own can be tested as cases are: it passes on the store that keeps all promises, and
//! fails on one that breaks the promise that it is about.
//!
//! ```
//! use tenure_conformance::mutants::{Fault, Model};
//! use tenure_core::{Lock, Result, Settings};
//!
//! /// Capital letters tell names apart.
//! fn letters_count(store: Model) -> Result<bool> {
//!     let _small = Lock::new(&store, "a").try_acquire()?;
//!     Ok(Lock::new(&store, "A").try_acquire().is_ok())
//! }
//!
//! # let dir = tempfile::tempdir().unwrap();
//! # let dir = dir.path();
//! assert!(letters_count(Model::open(dir.join("good"), Settings::default())?)?);
//! assert!(!letters_count(Model::broken(dir.join("bad"), Settings::default(), Fault::FoldsCase)?)?);
//! # Ok::<(), tenure_core::Error>(())
//! ```
//!
//! Both models also serve tasks; [`suite_async`] judges them there.

mod fault;
mod grants;
mod look;
mod lookout;
mod mark;
mod model;
mod names;
mod odd;
mod polled;
mod queue;
mod record;
mod rules;
mod shares;

use std::fs;
use std::time::Duration;

use tenure_core::Settings;

use crate::Suite;
use crate::agent;

pub use fault::Fault;
pub use grants::Hold;
pub use model::Model;
pub use queue::QueueModel;

/// A case that takes longer on a mutant hangs; the longest that ends by itself takes 25 s on a machine
/// that is not busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// The suite of a store with a fault, for threads.
pub fn suite(fault: Fault) -> Suite {
    let suite = Suite::new(format!("mutant-{fault}")).patience(PATIENCE);
    match fault.is_of_queue() {
        true => of_queue(suite, QueueModel::broken(Settings::default(), fault)),
        false => of_files(suite)
            .open(move |spec| Ok(Model::broken(spec.place(), spec.settings().clone(), fault)?.into())),
    }
}

/// The suite of a store with a fault, for tasks.
pub fn suite_async(fault: Fault) -> Suite {
    let suite = Suite::new(format!("mutant-{fault}-async")).patience(PATIENCE);
    match fault.is_of_queue() {
        true => of_queue_async(suite, QueueModel::broken(Settings::default(), fault)),
        false => of_files(suite)
            .open_async(move |spec| Ok(Model::broken(spec.place(), spec.settings().clone(), fault)?.into())),
    }
}

/// The suite of the [`Model`] that keeps all promises, for threads.
pub fn model() -> Suite {
    of_files(Suite::new("model")).open(|spec| Ok(Model::open(spec.place(), spec.settings().clone())?.into()))
}

/// The suite of the [`Model`] that keeps all promises, for tasks.
pub fn model_async() -> Suite {
    of_files(Suite::new("model-async"))
        .open_async(|spec| Ok(Model::open(spec.place(), spec.settings().clone())?.into()))
}

/// The suite of the [`QueueModel`] that keeps all promises, for threads.
pub fn queue_model() -> Suite {
    of_queue(Suite::new("queue-model"), QueueModel::new(Settings::default()))
}

/// The suite of the [`QueueModel`] that keeps all promises, for tasks.
pub fn queue_model_async() -> Suite {
    of_queue_async(Suite::new("queue-model-async"), QueueModel::new(Settings::default()))
}

/// Does not return in a process that was started as an agent of a mutant. To be called first in the
/// `main` of a program that judges mutants.
pub fn obey_if_agent() {
    let Some(asked) = agent::asked() else { return };
    let Some(name) = asked.strip_prefix("mutant-") else { return };
    let (name, suite): (_, fn(Fault) -> Suite) = match name.strip_suffix("-async") {
        Some(name) => (name, suite_async),
        None => (name, suite),
    };
    if let Some(fault) = Fault::all().find(|fault| fault.name() == name) {
        suite(fault).obey_if_agent();
    }
}

fn of_files(suite: Suite) -> Suite {
    suite.outage(|spec| {
        let (here, away) = (spec.place().to_owned(), format!("{}.away", spec.place()));
        let moved = fs::rename(&here, &away);
        Box::new(move || drop(moved.and_then(|()| fs::rename(away, here))))
    })
}

fn of_queue(suite: Suite, store: QueueModel) -> Suite {
    suite.in_process().open(move |spec| Ok(store.share_with_settings(spec.settings().clone()).into()))
}

fn of_queue_async(suite: Suite, store: QueueModel) -> Suite {
    suite.in_process().open_async(move |spec| Ok(store.share_with_settings(spec.settings().clone()).into()))
}
