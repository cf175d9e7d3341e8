//! What a database does to locks when it fails, and what locks do to the transactions of those who use the same
//! database: nothing.

use std::process::ExitCode;

use tenure_servers::{Outcome, run_at_once};

mod callers;
mod crashes;
#[cfg(target_os = "linux")]
mod disks;
mod outages;
mod pooler;
mod support;
mod tables;
mod wakes;

/// They mostly wait for servers.
const AT_ONCE: usize = 4;

fn main() -> ExitCode {
    let tests = [
        callers::TESTS,
        crashes::TESTS,
        #[cfg(target_os = "linux")]
        disks::TESTS,
        outages::TESTS,
        pooler::TESTS,
        tables::TESTS,
        wakes::TESTS,
    ]
    .concat();
    let boxed = |(name, test): (&str, fn() -> Outcome)| (name.to_owned(), Box::new(test) as Box<_>);
    run_at_once(
        "db",
        AT_ONCE,
        tests.into_iter().map(boxed).collect::<Vec<(String, Box<dyn FnOnce() -> Outcome + Send>)>>(),
    )
}
