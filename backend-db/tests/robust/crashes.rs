//! Servers that crash.

use std::time::Duration;

use tenure_core::{Lock, Settings};
use tenure_servers::{self as servers, MariaDb, Outcome, Postgres, Test};

use crate::support::{SOON, builder, eventually, open};

pub(crate) const TESTS: &[Test] = servers::tests![
    what_postgres_granted_survives_a_crash,
    what_mariadb_granted_survives_a_crash,
    a_guard_keeps_the_locks_of_postgres_closed_after_a_crash,
    a_guard_keeps_the_locks_of_mariadb_closed_after_a_start,
];

/// Long enough for a server to crash and come back.
const LONG: Duration = Duration::from_secs(120);

fn what_postgres_granted_survives_a_crash() -> Outcome {
    let mut server = servers::postgres()?;
    let (store, other) = (open(&server.url())?, open(&server.url())?);
    let held = Lock::new(&store, "job").ttl(LONG).try_acquire()?;
    server.quit()?;
    server.start()?;
    let denied = Lock::new(&other, "job").try_acquire();
    assert!(denied.as_ref().is_err_and(tenure_core::Error::is_contended), "{denied:?}");
    held.renew()?;
    let fence = held.fence();
    held.release()?;
    assert!(Lock::new(&other, "job").try_acquire()?.fence() > fence);
    Ok(())
}

fn what_mariadb_granted_survives_a_crash() -> Outcome {
    let mut server = servers::mariadb()?;
    let (store, other) = (open(&server.url())?, open(&server.url())?);
    let held = Lock::new(&store, "job").ttl(LONG).try_acquire()?;
    server.restart()?;
    let denied = Lock::new(&other, "job").try_acquire();
    assert!(denied.as_ref().is_err_and(tenure_core::Error::is_contended), "{denied:?}");
    held.renew()?;
    let fence = held.fence();
    held.release()?;
    assert!(Lock::new(&other, "job").try_acquire()?.fence() > fence);
    Ok(())
}

/// After a start, and after a crash, everybody waits for `max_ttl` before the first grant.
fn is_closed_after(url: &str, crash: &mut dyn FnMut() -> Outcome) -> Outcome {
    let longest = Duration::from_millis(1500);
    let settings = Settings::default().with_lease(Duration::from_millis(700))?.with_max_ttl(longest)?;
    let store = builder(url).settings(settings).restart_guard().connect()?;
    let lock = Lock::new(&store, "job");
    let closed = || lock.try_acquire().is_err_and(|error| error.is_quarantined());
    assert!(closed(), "nobody knows what was before the first use");
    eventually("the locks open", || !closed());
    let fence = lock.acquire_for(SOON)?.fence();
    crash()?;
    let error =
        lock.try_acquire().err().ok_or("a grant right after a crash").map_err(servers::Stop::failed)?;
    assert!(error.is_quarantined() && error.retry_after() <= Some(longest), "{error:?}");
    // Who waits is served when they open.
    let held = lock.acquire_for(SOON)?;
    assert!(held.fence() > fence);
    Ok(())
}

fn a_guard_keeps_the_locks_of_postgres_closed_after_a_crash() -> Outcome {
    let mut server = Postgres::with(&["synchronous_commit=off"])?;
    let url = server.url();
    is_closed_after(&url, &mut || {
        server.quit()?;
        Ok(server.start()?)
    })
}

fn a_guard_keeps_the_locks_of_mariadb_closed_after_a_start() -> Outcome {
    let mut server = MariaDb::with(&["--innodb-flush-log-at-trx-commit=0"])?;
    let url = server.url();
    is_closed_after(&url, &mut || Ok(server.restart()?))
}
