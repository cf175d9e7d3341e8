//! What there is once per process for asynchronous code: the default store, and giving up everything.
//! One test, because it is one process.

#[allow(dead_code, unreachable_pub, reason = "shared by test files that each use a part")]
mod polled;
#[allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "shared by test files that each use a part"
)]
mod support;

use std::time::Duration;

use polled::AsyncFake;
use support::{Fake, settings};
use tenure_core::aio::{self, AnyBackend, Lock, block_on};
use tenure_core::{Cause, Status};

#[test]
fn the_default_is_installed_once_and_everything_is_given_up_and_waited_for() {
    let store = AsyncFake::new(Fake::new(true, settings(Duration::from_secs(30))), 2);
    let missing = aio::default_store().unwrap_err();
    assert!(missing.is_no_default() && missing.to_string().contains("aio::install(store)"), "{missing}");
    aio::install(AnyBackend::new(store.clone())).unwrap();
    assert!(aio::install(AnyBackend::new(store.clone())).is_err_and(|error| error.is_misconfigured()));

    let one = block_on(Lock::new(aio::default_store().unwrap(), "one").acquire()).unwrap();
    let two = tenure_core::Lock::new(store.fake(), "two").acquire().unwrap();
    let errors = block_on(sent(aio::release_all()));
    assert!(errors.is_empty(), "{errors:?}");
    assert!(!store.fake().is_held("lock:one") && !store.fake().is_held("lock:two"));
    assert_eq!(one.status(), Status::Lost(Cause::Released));
    assert_eq!(two.status(), Status::Lost(Cause::Released));

    let down = block_on(Lock::new(&store, "three").acquire()).unwrap();
    store.fake().set_down(true);
    let errors = block_on(aio::release_all());
    assert!(matches!(&errors[..], [error] if error.is_unavailable() && error.lock() == Some("three")));
    store.fake().set_down(false);
    drop(down);

    // Of those who block, it begins the release and leaves it to a task.
    let four = block_on(Lock::new(&store, "four").acquire()).unwrap();
    assert!(tenure_core::release_all().is_empty());
    assert_eq!(four.status(), Status::Lost(Cause::Released));
    support::wait_until("the task has released it", || !store.fake().is_held("lock:four"));
}

fn sent<T: Send>(future: T) -> T {
    future
}
