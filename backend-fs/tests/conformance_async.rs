//! The contract, on files, for asynchronous code under tokio.

use std::fs;
use std::process::ExitCode;

use tenure_conformance::Suite;
use tenure_fs::Files;

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build();
    let runtime = runtime.expect("there are threads for a runtime");
    Suite::new("fs-async")
        .open_async_on(
            move |future| runtime.block_on(future),
            |spec| Ok(Files::builder(spec.place()).settings(spec.settings().clone()).open()?.into()),
        )
        .outage(|spec| {
            let (here, away) = (spec.place().to_owned(), format!("{}.away", spec.place()));
            let moved = fs::rename(&here, &away);
            Box::new(move || drop(moved.and_then(|()| fs::rename(away, here))))
        })
        .run()
}
