//! The contract, on files.

use std::fs;
use std::process::ExitCode;

use tenure_conformance::Suite;
use tenure_fs::Files;

fn main() -> ExitCode {
    Suite::new("fs")
        .open(|spec| Ok(Files::builder(spec.place()).settings(spec.settings().clone()).open()?.into()))
        .outage(|spec| {
            let (here, away) = (spec.place().to_owned(), format!("{}.away", spec.place()));
            let moved = fs::rename(&here, &away);
            Box::new(move || drop(moved.and_then(|()| fs::rename(away, here))))
        })
        .run()
}
