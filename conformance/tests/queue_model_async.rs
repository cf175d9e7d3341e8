//! The contract, on the store that mutants with a queue of their own are made of, for tasks.

use std::process::ExitCode;

fn main() -> ExitCode {
    tenure_conformance::mutants::queue_model_async().run()
}
