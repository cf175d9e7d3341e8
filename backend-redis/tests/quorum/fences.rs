//! Fences, whichever servers are asked.

use std::time::SystemTime;

use tenure_core::{Breaking, Inspect, Lock, LockAll, Name};
use tenure_servers::{self as servers, Outcome};

use crate::support::{open, start};

/// Puts the last fence of a name on one server ahead of all clocks.
fn put_ahead(server: &servers::Redis, name: &str) -> Outcome<u64> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_micros();
    let ahead = u64::try_from(now).unwrap_or_default() + 3_600_000_000;
    server.command(&format!("SET ~f:{{lock:{name}}} \"{ahead} 0 test\""))?;
    Ok(ahead)
}

pub(crate) fn fences_grow_over_any_majority() -> Outcome {
    for ahead in 0..3 {
        let mut servers = start(3, &[])?;
        let fence = put_ahead(&servers[ahead], "a")?;
        // What it granted is known to two of three, so any two of three know it.
        let store = open(&servers)?;
        let held = Lock::new(&store, "a").acquire()?;
        assert!(held.fence().get() > fence, "the server that is ahead was asked");
        let first = held.fence();
        held.release()?;
        servers[ahead].kill();
        // A process that has seen no fence.
        let store = open(&servers)?;
        let held = Lock::new(&store, "a").acquire()?;
        assert!(held.fence() > first, "{} after {first}", held.fence());
        held.release()?;
    }
    Ok(())
}

pub(crate) fn a_forced_fence_is_known_to_a_majority() -> Outcome {
    let mut servers = start(3, &[])?;
    let store = open(&servers)?;
    let held = Lock::new(&store, "a").acquire()?;
    put_ahead(&servers[0], "a")?;
    store.force_release(&Name::new("a")?, Breaking::Safe, "a test")?;
    let shown = store.inspect(&Name::new("a")?)?.map(|holder| holder.fence());
    assert!(shown > Some(held.fence()));
    drop(held);
    servers[0].kill();
    let store = open(&servers)?;
    let next = Lock::new(&store, "a").acquire()?;
    assert!(Some(next.fence()) > shown, "{} after {shown:?}", next.fence());
    next.release()?;
    Ok(())
}

pub(crate) fn a_lock_that_is_in_a_set_twice_is_found_out() -> Outcome {
    let servers = start(3, &[])?;
    put_ahead(&servers[0], "a")?;
    let (one, two) = (open(&servers)?, open(&servers)?);
    let twice = LockAll::of((Lock::new(&one, "a"), Lock::new(&two, "a")));
    for error in
        [twice.try_acquire().expect_err("it is one lock"), twice.acquire().expect_err("it is one lock")]
    {
        assert!(error.is_misconfigured() && error.to_string().contains("twice"), "{error:?}");
    }
    Ok(())
}
