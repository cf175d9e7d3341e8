//! What a database does to locks when it fails, and what locks do to the transactions of those who use the same
//! database: nothing.

use std::process::ExitCode;

mod callers;
mod crashes;
mod outages;
mod pooler;
mod support;
mod tables;

fn main() -> ExitCode {
    let tests = [callers::TESTS, crashes::TESTS, outages::TESTS, pooler::TESTS, tables::TESTS].concat();
    tenure_servers::run("db", &tests)
}
