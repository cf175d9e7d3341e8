//! The contract, on local memory, for asynchronous code.

use std::process::ExitCode;

use tenure_conformance::Suite;
use tenure_locmem::LocMem;

fn main() -> ExitCode {
    let store = LocMem::for_this_process_only();
    Suite::new("locmem-async")
        .open_async(move |spec| Ok(store.share_with_settings(spec.settings().clone()).into()))
        .in_process()
        .run()
}
