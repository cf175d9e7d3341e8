//! The contract, in the statements of MySQL, on a MariaDB server.

use std::process::ExitCode;

use tenure_conformance::Suite;
use tenure_db::Db;

fn main() -> ExitCode {
    Suite::new("mysql")
        .server(|| tenure_servers::mariadb().map(tenure_servers::MariaDb::into_server))
        .open(|spec| {
            let store = Db::builder(spec.place()).settings(spec.settings().clone());
            Ok(store.plain_mysql().connect()?.into())
        })
        .run()
}
