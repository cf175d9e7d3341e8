//! Behind a pooler that gives each transaction another connection.

use std::thread;
use std::time::Duration;

use tenure_core::{Backend, Inspect, Lock, Name, Owner, Settings};
use tenure_servers::{self as servers, Outcome, PgBouncer, Test};

use crate::support::{SOON, builder, eventually, open};

pub(crate) const TESTS: &[Test] = servers::tests![
    behind_a_pooler_locks_exclude_and_end,
    behind_a_pooler_waiters_ask_now_and_then,
    behind_a_pooler_threads_lose_no_update,
];

fn behind_a_pooler_locks_exclude_and_end() -> Outcome {
    let server = servers::postgres()?;
    let pooler = PgBouncer::before(&server, 3)?;
    // One behind it, and one that is not.
    let (store, other) = (open(&pooler.url())?, open(&server.url())?);
    assert!(store.diagnose().iter().any(|advice| advice.risk().contains("pooler")), "{:?}", store.diagnose());
    assert!(!other.diagnose().iter().any(|advice| advice.risk().contains("pooler")));
    let mut fence = tenure_core::Fence::ZERO;
    for (one, another) in [(&store, &other), (&other, &store), (&store, &store)] {
        let held = Lock::new(one, "job").ttl(Duration::from_secs(60)).try_acquire()?;
        assert!(held.fence() > fence);
        fence = held.fence();
        let denied = Lock::new(another, "job").try_acquire();
        assert!(denied.is_err_and(|error| error.is_contended() && error.holder() == Some(fence)));
        held.renew()?;
        assert!(another.inspect(&Name::new("job")?)?.is_some());
        held.release()?;
    }
    Ok(())
}

fn behind_a_pooler_waiters_ask_now_and_then() -> Outcome {
    let server = servers::postgres()?;
    let pooler = PgBouncer::before(&server, 3)?;
    // If it waited to be told, it would wait for an hour.
    let settings =
        Settings::default().with_recheck(Duration::from_secs(3600))?.with_sleep(Duration::from_millis(20))?;
    let store = builder(&pooler.url()).settings(settings.clone()).connect()?;
    let other = builder(&pooler.url()).settings(settings).connect()?;
    let held = Lock::new(&store, "job").try_acquire()?;
    let claim = Lock::new(&store, "job").claim_as(Owner::random())?;
    thread::scope(|scope| -> Outcome {
        let waiter = scope.spawn(|| Lock::new(&other, "job").acquire_for(SOON));
        eventually("somebody is known to wait", || store.is_awaited(&claim));
        held.release()?;
        waiter.join().expect("no thread panics")?.release()?;
        Ok(())
    })
}

fn behind_a_pooler_threads_lose_no_update() -> Outcome {
    let server = servers::postgres()?;
    // Fewer connections than threads, so that each transaction has another.
    let pooler = PgBouncer::before(&server, 2)?;
    let counter = std::sync::Mutex::new((0_u32, tenure_core::Fence::ZERO));
    thread::scope(|scope| -> Outcome {
        let work = || -> Outcome {
            let store = open(&pooler.url())?;
            for _ in 0..20 {
                let held = Lock::new(&store, "job").acquire_for(SOON)?;
                let mut seen = counter.try_lock().expect("nobody else holds the lock");
                assert!(held.fence() > seen.1);
                *seen = (seen.0 + 1, held.fence());
                drop(seen);
                held.release()?;
            }
            Ok(())
        };
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(work)).collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("no thread panics"))
    })?;
    assert_eq!(counter.lock().expect("no thread panics").0, 80);
    Ok(())
}
