//! The contract, in the statements of MySQL, on a MariaDB server, for asynchronous code.

use std::process::ExitCode;
use std::sync::Arc;

use tenure_conformance::Suite;
use tenure_db::Db;

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = Arc::new(runtime.expect("there are threads for a runtime"));
    let opening = runtime.clone();
    Suite::new("mysql-async")
        .server(|| tenure_servers::mariadb().map(tenure_servers::MariaDb::into_server))
        .open_async_on(
            move |future| runtime.block_on(future),
            move |spec| {
                let store = Db::builder(spec.place()).settings(spec.settings().clone());
                Ok(opening.block_on(store.plain_mysql().connect_async())?.into())
            },
        )
        .exempt("a_forked_child_is_denied_like_any_other", "a forked child has no threads of a tokio runtime")
        .run()
}
