//! The contract, on a master that sentinels watch over.

use std::process::ExitCode;
use std::time::Duration;

use tenure_conformance::Suite;
use tenure_redis::Redis;

fn main() -> ExitCode {
    Suite::new("redis-sentinel")
        .grain(Duration::from_millis(2))
        .server(|| tenure_servers::sentinels().map(tenure_servers::Sentinels::into_server))
        .open(|spec| Ok(Redis::builder(spec.place()).settings(spec.settings().clone()).connect()?.into()))
        .run()
}
