//! The contract, on a master that sentinels watch over.

use std::process::ExitCode;

use tenure_conformance::Suite;
use tenure_redis::Redis;

fn main() -> ExitCode {
    Suite::new("redis-sentinel")
        .server(|| tenure_servers::sentinels().map(tenure_servers::Sentinels::into_server))
        .open(|spec| Ok(Redis::builder(spec.place()).settings(spec.settings().clone()).connect()?.into()))
        .run()
}
