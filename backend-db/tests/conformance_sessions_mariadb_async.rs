//! The contract, on locks that belong to connections to a MariaDB server, for asynchronous code.

mod session_limits;

use std::process::ExitCode;
use std::time::Duration;

use tenure_conformance::Suite;
use tenure_core::aio::block_on;
use tenure_db::Sessions;
use tenure_servers::MariaDb;

fn main() -> ExitCode {
    let suite = Suite::new("sessions-mariadb-async")
        // Each lock that is held is a connection.
        .server(|| MariaDb::with(&["--max-connections=2000"]).map(MariaDb::into_server))
        // The server counts whole seconds.
        .shortest_ttl(Duration::from_secs(1))
        .open_async(|spec| {
            let store = Sessions::builder(spec.place()).settings(spec.settings().clone());
            Ok(block_on(store.connect_async())?.into())
        });
    session_limits::but_for_limits(suite).run()
}
