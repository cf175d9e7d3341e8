//! The contract, on a Redis server, through a pool of the package `r2d2_redis`.

use std::process::ExitCode;
use std::time::Duration;

use r2d2_redis::{RedisConnectionManager, r2d2};
use tenure_conformance::Suite;
use tenure_core::{Error, Result};
use tenure_redis::Redis;

fn main() -> ExitCode {
    Suite::new("redis-r2d2")
        .grain(Duration::from_millis(2))
        .exempt(
            "a_forked_child_is_denied_like_any_other",
            "the connections of the pool are those of its parent, and it is refused",
        )
        .server(|| tenure_servers::redis().map(tenure_servers::Redis::into_server))
        .open(|spec| {
            let store = Redis::pool_builder(pool(spec.place())?).settings(spec.settings().clone());
            Ok(store.open()?.into())
        })
        .run()
}

fn pool(url: &str) -> Result<r2d2::Pool<RedisConnectionManager>> {
    let failed = |source: &str| Error::misconfigured("no pool").with_source(source);
    let manager = RedisConnectionManager::new(url).map_err(|error| failed(&error.to_string()))?;
    let pool = r2d2::Pool::builder().max_size(16).min_idle(Some(0)).test_on_check_out(false);
    pool.build(manager).map_err(|error| failed(&error.to_string()))
}
