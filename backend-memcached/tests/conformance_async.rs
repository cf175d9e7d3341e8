//! The contract, on a memcached, for asynchronous code.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tenure_conformance::Suite;
use tenure_memcached::Memcached;

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = Arc::new(runtime.expect("there are threads for a runtime"));
    let opening = runtime.clone();
    Suite::new("memcached-async")
        .server(|| tenure_servers::memcached().map(tenure_servers::Memcached::into_server))
        .open_async_on(
            move |future| runtime.block_on(future),
            move |spec| {
                let store = Memcached::builder(spec.place()).settings(spec.settings().clone());
                // The suite's server was just started; `guard` tests what this leaves out.
                Ok(opening.block_on(store.without_quarantine().connect_async())?.into())
            },
        )
        // The server keeps a value for so long after its lease.
        .lateness(Duration::from_secs(5))
        .exempt("a_forked_child_is_denied_like_any_other", "a forked child has no threads of a tokio runtime")
        .run()
}
