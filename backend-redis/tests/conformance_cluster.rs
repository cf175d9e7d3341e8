//! The contract, on a cluster of three masters and three replicas.

use std::process::ExitCode;
use std::time::Duration;

use tenure_conformance::Suite;
use tenure_redis::Redis;

fn main() -> ExitCode {
    Suite::new("redis-cluster")
        .grain(Duration::from_millis(2))
        .server(|| tenure_servers::cluster().map(tenure_servers::Cluster::into_server))
        .open(|spec| Ok(Redis::builder(spec.place()).settings(spec.settings().clone()).connect()?.into()))
        .run()
}
