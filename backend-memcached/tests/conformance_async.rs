//! The contract, on two memcacheds that have a part of the locks each, for asynchronous code.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tenure_conformance::{Server, Suite};
use tenure_memcached::Memcached;

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = Arc::new(runtime.expect("there are threads for a runtime"));
    let opening = runtime.clone();
    Suite::new("memcached-async")
        .server(|| {
            let both = [tenure_servers::memcached()?, tenure_servers::memcached()?];
            let place = format!("{},127.0.0.1:{}", both[0].url(), both[1].port());
            Ok(Server::new(place, both))
        })
        .open_async_on(
            move |future| runtime.block_on(future),
            move |spec| {
                let store = Memcached::builder(spec.place()).settings(spec.settings().clone());
                // The suite's servers were just started; `guard` tests what this leaves out.
                Ok(opening.block_on(store.without_quarantine().connect_async())?.into())
            },
        )
        // A server keeps a value for so long after its lease.
        .lateness(Duration::from_secs(5))
        .exempt("a_forked_child_is_denied_like_any_other", "a forked child has no threads of a tokio runtime")
        .run()
}
