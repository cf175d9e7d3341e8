//! The contract, on a PostgreSQL server.

use std::process::ExitCode;

use tenure_conformance::Suite;
use tenure_db::Db;

fn main() -> ExitCode {
    Suite::new("postgres")
        .server(|| tenure_servers::postgres().map(tenure_servers::Postgres::into_server))
        .open(|spec| Ok(Db::builder(spec.place()).settings(spec.settings().clone()).connect()?.into()))
        .run()
}
