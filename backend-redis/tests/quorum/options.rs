//! What a quorum can be told.

use std::time::Duration;

use tenure_core::{Breaking, Inspect, Lock, Moment, Name, Result, Settings};
use tenure_redis::{Profile, Quorum};
use tenure_servers::{self as servers, Outcome};

use crate::support::{LIMIT, Servers, in_order, start};

/// The longest lease, which is waited out.
const LONGEST: Duration = Duration::from_millis(1500);

fn guarded(servers: &Servers) -> Result<Quorum> {
    let settings = Settings::default().with_lease(Duration::from_secs(1))?.with_max_ttl(LONGEST)?;
    let urls = servers.iter().map(servers::Redis::url);
    Quorum::builder(urls).node_timeout(LIMIT).settings(settings).restart_guard().connect()
}

pub(crate) fn with_a_guard_a_server_that_forgot_does_not_make_a_second_majority() -> Outcome {
    let mut servers = start(3, &[])?;
    let store = guarded(&servers)?;
    let error = Lock::new(&store, "a").try_acquire().expect_err("all servers are new");
    assert!(error.is_quarantined() && error.retry_after().is_some_and(|left| left <= LONGEST), "{error:?}");
    Lock::new(&store, "a").acquire()?.release()?;
    let held = Lock::new(&store, "a").ttl(LONGEST).acquire()?;
    let deadline = held.deadline().expect("it has a lease");
    // The last server never heard of it, and the second forgets it.
    let order = in_order(&servers);
    servers[order[2]].command("DEL lock:a")?;
    servers[order[1]].restart()?;
    let other = guarded(&servers)?;
    let error = Lock::new(&other, "a").try_acquire().expect_err("its holder believes in it");
    assert!(error.is_contended() || error.is_quarantined(), "{error:?}");
    // What nobody holds is granted by the other two.
    Lock::new(&other, "b").try_acquire()?.release()?;
    let next = Lock::new(&other, "a").acquire()?;
    assert!(Moment::now() >= deadline, "it was granted while its holder believed in it");
    assert!(next.fence() > held.fence());
    next.release()?;
    Ok(())
}

pub(crate) fn a_profile_is_that_of_all_servers() -> Outcome {
    let servers = start(3, &[])?;
    let urls = || servers.iter().map(servers::Redis::url);
    for (profile, key) in [(Profile::Plain, "a"), (Profile::django("shop", 2), "shop:2:lock:a")] {
        let store = Quorum::builder(urls()).node_timeout(LIMIT).profile(profile).connect()?;
        let held = Lock::new(&store, "a").try_acquire()?;
        for server in &servers {
            assert_eq!(server.command(&format!("EXISTS {key}"))?, ":1\r\n", "{key}");
        }
        held.release()?;
    }
    Ok(())
}

pub(crate) fn what_lies_beside_a_lock_is_none() -> Outcome {
    let servers = start(3, &[])?;
    let urls = servers.iter().map(servers::Redis::url);
    let store = Quorum::builder(urls).node_timeout(LIMIT).profile(Profile::Plain).connect()?;
    Lock::new(&store, "a").try_acquire()?.release()?;
    let beside = Name::new("~f:{a}")?;
    let owner = Lock::new(&store, "b").try_acquire()?.owner();
    let lock = || Lock::new(&store, beside.clone());
    assert!(lock().try_acquire().is_err_and(|error| error.is_invalid_name()));
    assert!(lock().restore(owner).is_err_and(|error| error.is_invalid_name()));
    assert!(store.inspect(&beside).is_err_and(|error| error.is_invalid_name()));
    let broken = store.force_release(&beside, Breaking::Now, "test");
    assert!(broken.is_err_and(|error| error.is_invalid_name()));
    for server in &servers {
        assert_eq!(server.command("EXISTS ~f:{a}")?, ":1\r\n");
    }
    Ok(())
}
