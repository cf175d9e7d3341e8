//! The contract, on locks that belong to connections to a MariaDB server.

mod session_limits;

use std::process::ExitCode;
use std::time::Duration;

use tenure_conformance::Suite;
use tenure_db::Sessions;
use tenure_servers::MariaDb;

fn main() -> ExitCode {
    let suite = Suite::new("sessions-mariadb")
        // Each lock that is held is a connection.
        .server(|| MariaDb::with(&["--max-connections=2000"]).map(MariaDb::into_server))
        // The server counts whole seconds.
        .shortest_ttl(Duration::from_secs(1))
        .open(|spec| {
            let store = Sessions::builder(spec.place()).settings(spec.settings().clone());
            Ok(store.connect()?.into())
        });
    session_limits::but_for_limits(suite).run()
}
