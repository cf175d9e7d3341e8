//! The contract, on the store that mutants are made of.

use std::process::ExitCode;

fn main() -> ExitCode {
    tenure_conformance::mutants::model().run()
}
