//! The contract, on a Redis server.

use std::process::ExitCode;
use std::time::Duration;

use tenure_conformance::Suite;
use tenure_redis::Redis;

fn main() -> ExitCode {
    Suite::new("redis")
        .grain(Duration::from_millis(2))
        .server(|| tenure_servers::redis().map(tenure_servers::Redis::into_server))
        .open(|spec| Ok(Redis::builder(spec.place()).settings(spec.settings().clone()).connect()?.into()))
        .run()
}
