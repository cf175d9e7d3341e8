//! The contract, on locks that belong to connections to a PostgreSQL server.

mod session_limits;

use std::process::ExitCode;

use tenure_conformance::Suite;
use tenure_db::Sessions;
use tenure_servers::Postgres;

fn main() -> ExitCode {
    let suite = Suite::new("sessions-postgres")
        // Each lock that is held is a connection.
        .server(|| Postgres::with(&["max_connections=2000"]).map(Postgres::into_server))
        .open(|spec| {
            let store = Sessions::builder(spec.place()).settings(spec.settings().clone());
            Ok(store.connect()?.into())
        });
    session_limits::but_for_limits(suite).run()
}
