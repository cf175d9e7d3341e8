//! The contract, on locks that belong to connections to a PostgreSQL server, for asynchronous code.

mod session_limits;

use std::process::ExitCode;

use tenure_conformance::Suite;
use tenure_core::aio::block_on;
use tenure_db::Sessions;
use tenure_servers::Postgres;

fn main() -> ExitCode {
    let suite = Suite::new("sessions-postgres-async")
        // Each lock that is held is a connection.
        .server(|| Postgres::with(&["max_connections=2000"]).map(Postgres::into_server))
        .open_async(|spec| {
            let store = Sessions::builder(spec.place()).settings(spec.settings().clone());
            Ok(block_on(store.connect_async())?.into())
        });
    session_limits::but_for_limits(suite).run()
}
