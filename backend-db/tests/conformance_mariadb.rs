//! The contract, on a MariaDB server.

use std::process::ExitCode;

use tenure_conformance::Suite;
use tenure_db::Db;

fn main() -> ExitCode {
    Suite::new("mariadb")
        .server(|| tenure_servers::mariadb().map(tenure_servers::MariaDb::into_server))
        .open(|spec| {
            let store = Db::builder(spec.place()).settings(spec.settings().clone());
            Ok(store.connect()?.into())
        })
        .run()
}
