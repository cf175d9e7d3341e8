//! The contract, on a Redis server that hands locks on in order.

use std::process::ExitCode;

use tenure_conformance::Suite;
use tenure_redis::Redis;

fn main() -> ExitCode {
    Suite::new("redis-fair")
        .server(|| tenure_servers::redis().map(tenure_servers::Redis::into_server))
        .open(|spec| {
            let store = Redis::builder(spec.place()).settings(spec.settings().clone());
            Ok(store.fair().connect()?.into())
        })
        .run()
}
