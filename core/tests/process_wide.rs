//! What there is once per process: the default store, and giving up everything. One test, because
//! it is one process.

#[allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "shared by test files that each use a part"
)]
mod support;

use std::sync::mpsc;
use std::time::Duration;

use support::{Fake, settings};
use tenure_core::{AnyBackend, Cause, Lock, Status, default_store, install, release_all};

#[test]
fn the_default_is_installed_once_and_everything_is_given_up_at_once() {
    assert!(
        default_store()
            .is_err_and(|error| error.is_no_default() && error.to_string().contains("install(store)"))
    );
    let store = Fake::new(true, settings(Duration::from_secs(30)));
    install(AnyBackend::new(store.clone())).unwrap();
    assert!(install(AnyBackend::new(store.clone())).is_err_and(|error| error.is_misconfigured()));
    let default = default_store().unwrap();

    let other = Fake::new(false, settings(Duration::from_secs(30)));
    let kept = Lock::new(default, "a").acquire().unwrap();
    let fixed = Lock::new(&other, "b").ttl(Duration::from_secs(30)).acquire().unwrap();
    let (tell, told) = mpsc::channel();
    fixed.on_lost(move |cause| tell.send(cause).unwrap());

    assert!(release_all().is_empty());
    assert_eq!(told.recv_timeout(Duration::from_secs(10)), Ok(Cause::Released));
    assert_eq!(kept.status(), Status::Lost(Cause::Released));
    assert!(kept.release().is_err_and(|error| error.cause() == Some(Cause::Released)));
    Lock::new(&store, "a").try_acquire().unwrap().release().unwrap();
    let next = Lock::new(&other, "b").try_acquire().unwrap();
    drop(fixed);
    assert!(other.is_held("lock:b"), "a guard of a lock that was given up freed the next owner's");
    next.release().unwrap();

    let down = Lock::new(&other, "c").acquire().unwrap();
    other.set_down(true);
    let errors = release_all();
    assert!(
        matches!(&errors[..], [error] if error.is_unavailable() && error.lock() == Some("c")),
        "{errors:?}"
    );
    other.set_down(false);
    drop(down);
}
