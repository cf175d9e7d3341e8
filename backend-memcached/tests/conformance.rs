//! The contract, on a memcached.

use std::process::ExitCode;
use std::time::Duration;

use tenure_conformance::Suite;
use tenure_memcached::Memcached;

fn main() -> ExitCode {
    Suite::new("memcached")
        .server(|| tenure_servers::memcached().map(tenure_servers::Memcached::into_server))
        .open(|spec| {
            let store = Memcached::builder(spec.place()).settings(spec.settings().clone());
            // The suite's server was just started; `guard` tests what this leaves out.
            Ok(store.without_quarantine().connect()?.into())
        })
        // The server keeps a value for so long after its lease.
        .lateness(Duration::from_secs(5))
        .run()
}
