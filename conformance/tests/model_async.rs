//! The contract, on the store that mutants are made of, for tasks.

use std::process::ExitCode;

fn main() -> ExitCode {
    tenure_conformance::mutants::model_async().run()
}
