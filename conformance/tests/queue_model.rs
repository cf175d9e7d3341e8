//! The contract, on the store that mutants with a queue of their own are made of.

use std::process::ExitCode;

fn main() -> ExitCode {
    tenure_conformance::mutants::queue_model().run()
}
