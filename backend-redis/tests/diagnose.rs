//! What is risky about a server, found out from servers that are set up so.

use std::process::ExitCode;
use std::time::Duration;

use tenure_core::{Advice, Backend, Lock, Settings};
use tenure_redis::{Builder, Redis};
use tenure_servers::{self as servers, Outcome};

fn main() -> ExitCode {
    let tests = servers::tests![
        a_server_that_saves_everything_and_evicts_nothing_is_no_risk,
        a_server_that_may_evict_locks_is_a_risk,
        a_server_that_forgets_is_a_risk,
        a_server_that_does_not_say_is_a_risk,
        a_guard_is_no_risk_once_it_is_open_and_all_heed_it,
    ];
    servers::run("redis", tests)
}

fn advice(options: &[&str], setup: Option<&str>) -> Outcome<Vec<Advice>> {
    let server = servers::Redis::with(options)?;
    if let Some(setup) = setup {
        assert!(server.command(setup)?.starts_with("+OK"), "{setup}");
    }
    told(&Redis::builder(&server.url()))
}

/// What both kinds of stores say, which is the same.
fn told(builder: &Builder) -> Outcome<Vec<Advice>> {
    let advice = builder.clone().connect()?.diagnose();
    #[cfg(feature = "async")]
    {
        use tenure_core::aio::AsyncBackend;

        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let other = runtime.block_on(async {
            let store = builder.clone().connect_async().await?;
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

fn a_guard_is_no_risk_once_it_is_open_and_all_heed_it() -> Outcome {
    let longest = Duration::from_millis(1500);
    let server = servers::Redis::with(&[])?;
    let settings = Settings::default().with_lease(longest)?.with_max_ttl(longest)?;
    let plain = Redis::builder(&server.url()).settings(settings);
    let guarded = plain.clone().restart_guard();
    let is_one = |seen: &[Advice], word: &str| matches!(seen, [one] if one.risk().contains(word));
    let seen = told(&guarded)?;
    assert!(is_one(&seen, "closes all of them for 1.5s"), "{seen:?}");
    let store = guarded.clone().connect()?;
    assert!(Lock::new(&store, "a").try_acquire().is_err_and(|error| error.is_quarantined()));
    let seen = store.diagnose();
    assert!(is_one(&seen, "closed for another"), "{seen:?}");
    Lock::new(&store, "a").acquire()?.release()?;
    assert_eq!(told(&guarded)?, []);
    let seen = told(&plain)?;
    assert!(seen.iter().any(|advice| advice.risk().contains("does not heed it")), "{seen:?}");
    Ok(())
}
