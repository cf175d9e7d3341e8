//! The contract, on a Redis server, with keys and values as Django's caches write them.

use std::process::ExitCode;
use std::time::Duration;

use tenure_conformance::Suite;
use tenure_redis::{Profile, Redis};

fn main() -> ExitCode {
    Suite::new("redis-django")
        .grain(Duration::from_millis(2))
        .server(|| tenure_servers::redis().map(tenure_servers::Redis::into_server))
        .open(|spec| {
            let store = Redis::builder(spec.place()).settings(spec.settings().clone());
            Ok(store.profile(Profile::django("shop", 2)).connect()?.into())
        })
        .exempt("the_default_prefix_is_lock", "what stands before it is the cache's")
        .run()
}
