//! Everything that can happen to a lock, for locks of both kinds.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::{Context, Waker};
use std::time::Duration;

use tenure_core::{Backend, Breaking, Cause, Error, Fence, Holder, Name, Settings, aio};

use crate::observe::store::{Answer, Lock, Store, Way, silence};
use crate::observe::watch::{Meters, Told, watched};

pub const LEASE: Duration = Duration::from_secs(30);

/// Something that happens to locks.
pub type Scene = fn(&Store, Way);

pub const ALL: &[Scene] = &[
    held_for_three_seconds,
    taken_by_another,
    waited_for,
    not_free_in_time,
    unanswered,
    unanswered_while_waiting,
    quarantined,
    waited_out,
    restored_by_a_stranger,
    abandoned,
    waited_for_by_its_own_process,
    renewed,
    renewal_unanswered,
    forgotten,
    forced,
    revoked,
    expired,
    lost_at_its_release,
    release_unanswered,
    left,
    broken,
];

/// What is seen of a scene.
pub fn seen(scene: Scene, way: Way) -> (Vec<Told>, Meters) {
    let ((), spans, meters) = watched(|_, _| scene(&store(), way));
    (spans.events(), meters)
}

pub fn store() -> Store {
    Store::new(Settings::default().with_lease(LEASE).unwrap())
}

pub fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

pub fn held_for_three_seconds(store: &Store, way: Way) {
    let held = Lock::new(store, way, "a").acquire().unwrap();
    store.pass(seconds(3.0));
    held.release().unwrap();
}

pub fn taken_by_another(store: &Store, way: Way) {
    store.occupy("a", 7, seconds(5.0));
    assert!(Lock::new(store, way, "a").try_acquire().is_err_and(|error| error.is_contended()));
}

pub fn waited_for(store: &Store, way: Way) {
    store.occupy("a", 7, seconds(0.5));
    Lock::new(store, way, "a").acquire().unwrap().release().unwrap();
}

pub fn not_free_in_time(store: &Store, way: Way) {
    store.occupy("a", 7, seconds(60.0));
    let error = Lock::new(store, way, "a").acquire_for(seconds(0.25)).err().unwrap();
    assert!(error.is_timed_out());
}

pub fn unanswered(store: &Store, way: Way) {
    store.script([silence()]);
    assert!(Lock::new(store, way, "a").acquire().is_err_and(|error| error.is_unavailable()));
}

pub fn unanswered_while_waiting(store: &Store, way: Way) {
    store.occupy("a", 7, seconds(0.5));
    store.script([Answer::Well, silence()]);
    Lock::new(store, way, "a").acquire().unwrap().release().unwrap();
}

pub fn quarantined(store: &Store, way: Way) {
    store.script([Answer::Fail(Error::quarantined(seconds(0.2), "forgot everything"))]);
    assert!(Lock::new(store, way, "a").try_acquire().is_err_and(|error| error.is_quarantined()));
}

pub fn waited_out(store: &Store, way: Way) {
    let closed = || Answer::Fail(Error::quarantined(seconds(0.2), "forgot everything"));
    store.script([closed(), closed()]);
    Lock::new(store, way, "a").acquire().unwrap().release().unwrap();
}

pub fn restored_by_a_stranger(store: &Store, way: Way) {
    let owner = tenure_core::Owner::random();
    assert!(Lock::new(store, way, "a").restore(owner).is_err_and(|error| error.is_lost()));
}

/// A future is dropped, or the store panics.
pub fn abandoned(store: &Store, way: Way) {
    match way {
        Way::Polled => {
            store.occupy("a", 7, seconds(5.0));
            let lock = aio::Lock::new(store, "a");
            let mut waiting = pin!(lock.acquire());
            assert!(waiting.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        }
        Way::Blocks => {
            store.script([Answer::Panic]);
            let lock = Lock::new(store, way, "a");
            assert!(catch_unwind(AssertUnwindSafe(|| lock.try_acquire().is_ok())).is_err());
        }
    }
}

pub fn waited_for_by_its_own_process(store: &Store, way: Way) {
    let first = Lock::new(store, way, "a").ttl(seconds(0.5)).acquire().unwrap();
    Lock::new(store, way, "a").acquire().unwrap().release().unwrap();
    assert!(first.release().is_err_and(|error| error.cause() == Some(Cause::Expired)));
}

/// Once by its holder, and once by the engine before a third and a half of the lease has passed.
pub fn renewed(store: &Store, way: Way) {
    let held = Lock::new(store, way, "a").acquire().unwrap();
    held.renew().unwrap();
    store.pass(LEASE / 2);
    held.release().unwrap();
}

pub fn renewal_unanswered(store: &Store, way: Way) {
    let held = Lock::new(store, way, "a").acquire().unwrap();
    store.script([silence()]);
    assert!(held.renew().is_err_and(|error| error.is_unavailable()));
    held.release().unwrap();
}

pub fn forgotten(store: &Store, way: Way) {
    let held = Lock::new(store, way, "a").acquire().unwrap();
    store.pass(seconds(2.0));
    store.occupy("a", 9, seconds(5.0));
    assert!(held.renew().is_err_and(|error| error.cause() == Some(Cause::Superseded)));
    store.pass(seconds(1.0));
    drop(held);
}

pub fn forced(store: &Store, way: Way) {
    let held = Lock::new(store, way, "a").acquire().unwrap();
    store.script([Answer::Fail(Error::lost(Cause::Forced))]);
    assert!(held.renew().is_err_and(|error| error.cause() == Some(Cause::Forced)));
}

pub fn revoked(store: &Store, way: Way) {
    let held = Lock::new(store, way, "a").acquire().unwrap();
    Backend::site(store).revoke("lock:a", held.owner(), Cause::Released);
    assert!(held.release().is_err_and(|error| error.is_lost()));
}

/// The store never answers again.
pub fn expired(store: &Store, way: Way) {
    let held = Lock::new(store, way, "a").acquire().unwrap();
    store.script(std::iter::repeat_with(silence).take(1000));
    store.pass(LEASE);
    drop(held);
}

pub fn lost_at_its_release(store: &Store, way: Way) {
    let held = Lock::new(store, way, "a").acquire().unwrap();
    store.occupy("a", 9, seconds(5.0));
    assert!(held.release().is_err_and(|error| error.cause() == Some(Cause::Superseded)));
}

pub fn release_unanswered(store: &Store, way: Way) {
    let held = Lock::new(store, way, "a").acquire().unwrap();
    store.script([silence(), silence()]);
    store.pass(seconds(2.0));
    assert!(held.release().is_err_and(|error| error.is_unavailable()));
    store.pass(seconds(1.0));
}

pub fn left(store: &Store, way: Way) {
    let held = Lock::new(store, way, "a").release_on_drop(false).acquire().unwrap();
    store.pass(seconds(2.0));
    drop(held);
}

pub fn broken(store: &Store, _: Way) {
    let holder = Holder::new(Name::new("a").unwrap(), Fence::new(7), None);
    Backend::site(store).force_released(&holder, Breaking::Safe, "host is gone");
    Backend::site(store).force_released(&holder, Breaking::Now, "host is gone");
}
