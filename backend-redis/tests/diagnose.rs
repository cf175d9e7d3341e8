//! What is risky about a server, found out from servers that are set up so.

use std::process::ExitCode;

use tenure_core::{Advice, Backend};
use tenure_redis::Redis;
use tenure_servers::{self as servers, Outcome};

fn main() -> ExitCode {
    let tests = servers::tests![
        a_server_that_saves_everything_and_evicts_nothing_is_no_risk,
        a_server_that_may_evict_locks_is_a_risk,
        a_server_that_forgets_is_a_risk,
        a_server_that_does_not_say_is_a_risk,
    ];
    servers::run("redis", tests)
}

/// What both kinds of stores say, which is the same.
fn advice(options: &[&str], setup: Option<&str>) -> Outcome<Vec<Advice>> {
    let server = servers::Redis::with(options)?;
    let store = Redis::connect(&server.url())?;
    if let Some(setup) = setup {
        assert!(server.command(setup)?.starts_with("+OK"), "{setup}");
    }
    let advice = store.diagnose();
    #[cfg(feature = "async")]
    {
        use tenure_core::aio::AsyncBackend;

        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let other = runtime.block_on(async {
            let store = tenure_redis::AsyncRedis::connect(&server.url()).await?;
            Ok::<_, tenure_core::Error>(store.diagnose().await)
        })?;
        assert_eq!(advice, other);
    }
    Ok(advice)
}

const SAVES: [&str; 4] = ["--appendonly", "yes", "--appendfsync", "always"];

fn a_server_that_saves_everything_and_evicts_nothing_is_no_risk() -> Outcome {
    assert_eq!(advice(&SAVES, None)?, []);
    Ok(())
}

fn a_server_that_may_evict_locks_is_a_risk() -> Outcome {
    for policy in ["allkeys-lru", "volatile-ttl"] {
        let evicting = [&SAVES[..], &["--maxmemory", "100mb", "--maxmemory-policy", policy]].concat();
        let seen = advice(&evicting, None)?;
        assert!(matches!(&seen[..], [one] if one.risk().contains(policy)), "{seen:?}");
    }
    Ok(())
}

fn a_server_that_forgets_is_a_risk() -> Outcome {
    let seen = advice(&[], None)?;
    assert!(matches!(&seen[..], [one] if one.risk().contains("forgets the latest locks")), "{seen:?}");
    let seen = advice(&["--appendonly", "yes", "--appendfsync", "everysec"], None)?;
    assert!(matches!(&seen[..], [one] if one.risk().contains("last second")), "{seen:?}");
    Ok(())
}

fn a_server_that_does_not_say_is_a_risk() -> Outcome {
    let seen = advice(&SAVES, Some("ACL SETUSER default -info"))?;
    assert!(matches!(&seen[..], [one] if one.risk().contains("does not say")), "{seen:?}");
    // Without this one, it says enough.
    assert_eq!(advice(&SAVES, Some("ACL SETUSER default -config"))?, []);
    Ok(())
}
