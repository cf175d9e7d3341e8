//! Everything that can happen to a lock, for locks of both kinds.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::{Context, Waker};
use std::time::Duration;

use tenure_core::testing::Scripted;
use tenure_core::{
    Attempt, Backend, Breaking, Cause, Claim, Inspect, Name, Owner, Release, Renewal, Result, Site, aio,
};

use crate::observe::watch::{Meters, Told, watched};
use crate::observe::ways::{Lock, Way};

/// Something that happens to the lock `a`.
pub type Scene = fn(&Scripted, Way);

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
    superseded,
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
    let ((), spans, meters) = watched(|_, _| scene(&Scripted::new(), way));
    (spans.events(), meters)
}

pub fn held_for_three_seconds(store: &Scripted, way: Way) {
    let held = Lock::new(store, way, "a").acquire().unwrap();
    pass(store, 3.0);
    held.release().unwrap();
}

pub fn taken_by_another(store: &Scripted, way: Way) {
    store.taken_for("a", seconds(5.0));
    assert!(Lock::new(store, way, "a").try_acquire().is_err_and(|error| error.is_contended()));
}

pub fn waited_for(store: &Scripted, way: Way) {
    store.taken_for("a", seconds(0.5));
    Lock::new(store, way, "a").acquire().unwrap().release().unwrap();
}

pub fn not_free_in_time(store: &Scripted, way: Way) {
    store.taken_for("a", seconds(60.0));
    let error = Lock::new(store, way, "a").acquire_for(seconds(0.25)).err().unwrap();
    assert!(error.is_timed_out());
}

pub fn unanswered(store: &Scripted, way: Way) {
    store.on_acquire("a", 1).fail();
    assert!(Lock::new(store, way, "a").acquire().is_err_and(|error| error.is_unavailable()));
}

pub fn unanswered_while_waiting(store: &Scripted, way: Way) {
    store.taken_for("a", seconds(0.5));
    store.on_acquire("a", 2).fail();
    Lock::new(store, way, "a").acquire().unwrap().release().unwrap();
}

pub fn quarantined(store: &Scripted, way: Way) {
    store.on_acquire("a", 1).quarantine(seconds(0.2));
    assert!(Lock::new(store, way, "a").try_acquire().is_err_and(|error| error.is_quarantined()));
}

pub fn waited_out(store: &Scripted, way: Way) {
    store.on_acquire("a", 1..=3).quarantine(seconds(0.2));
    Lock::new(store, way, "a").acquire().unwrap().release().unwrap();
}

pub fn restored_by_a_stranger(store: &Scripted, way: Way) {
    assert!(Lock::new(store, way, "a").restore(Owner::random()).is_err_and(|error| error.is_lost()));
}

/// A future is dropped, or the store panics.
pub fn abandoned(store: &Scripted, way: Way) {
    match way {
        Way::Polled => {
            store.taken_for("a", seconds(5.0));
            let lock = aio::Lock::new(store, "a");
            let mut waiting = pin!(lock.acquire());
            assert!(waiting.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        }
        Way::Blocks => {
            let lock = tenure_core::Lock::new(Panicking(store.clone()), "a");
            assert!(catch_unwind(AssertUnwindSafe(|| lock.try_acquire().is_ok())).is_err());
        }
    }
}

pub fn waited_for_by_its_own_process(store: &Scripted, way: Way) {
    let first = Lock::new(store, way, "a").ttl(seconds(0.5)).acquire().unwrap();
    Lock::new(store, way, "a").acquire().unwrap().release().unwrap();
    assert!(first.release().is_err_and(|error| error.cause() == Some(Cause::Expired)));
}

/// Once by its holder, and once by the engine before half of the lease has passed.
pub fn renewed(store: &Scripted, way: Way) {
    let held = Lock::new(store, way, "a").acquire().unwrap();
    held.renew().unwrap();
    pass(store, 15.0);
    held.release().unwrap();
}

pub fn renewal_unanswered(store: &Scripted, way: Way) {
    store.on_renewal("a", 1).fail();
    let held = Lock::new(store, way, "a").acquire().unwrap();
    assert!(held.renew().is_err_and(|error| error.is_unavailable()));
    held.release().unwrap();
}

pub fn superseded(store: &Scripted, way: Way) {
    let held = Lock::new(store, way, "a").acquire().unwrap();
    pass(store, 2.0);
    store.taken_for("a", seconds(5.0));
    assert!(held.renew().is_err_and(|error| error.cause() == Some(Cause::Superseded)));
    pass(store, 1.0);
}

pub fn forced(store: &Scripted, way: Way) {
    store.on_renewal("a", 1).lose(Cause::Forced);
    let held = Lock::new(store, way, "a").acquire().unwrap();
    assert!(held.renew().is_err_and(|error| error.cause() == Some(Cause::Forced)));
}

pub fn revoked(store: &Scripted, way: Way) {
    let held = Lock::new(store, way, "a").acquire().unwrap();
    Backend::site(store).revoke("lock:a", held.owner(), Cause::Released);
    assert!(held.release().is_err_and(|error| error.is_lost()));
}

/// The store never answers again.
pub fn expired(store: &Scripted, way: Way) {
    let held = Lock::new(store, way, "a").acquire().unwrap();
    store.set_down(true);
    pass(store, 30.0);
    drop(held);
}

pub fn lost_at_its_release(store: &Scripted, way: Way) {
    let held = Lock::new(store, way, "a").acquire().unwrap();
    store.taken_for("a", seconds(5.0));
    assert!(held.release().is_err_and(|error| error.cause() == Some(Cause::Superseded)));
}

pub fn release_unanswered(store: &Scripted, way: Way) {
    store.on_release("a", 1..=2).fail();
    let held = Lock::new(store, way, "a").acquire().unwrap();
    pass(store, 2.0);
    assert!(held.release().is_err_and(|error| error.is_unavailable()));
    pass(store, 1.0);
}

pub fn left(store: &Scripted, way: Way) {
    let held = Lock::new(store, way, "a").release_on_drop(false).acquire().unwrap();
    pass(store, 2.0);
    drop(held);
}

pub fn broken(store: &Scripted, _: Way) {
    let name = Name::new("a").unwrap();
    for breaking in [Breaking::Safe, Breaking::Now] {
        store.taken_for("a", seconds(5.0));
        Inspect::force_release(store, &name, breaking, "host is gone").unwrap().unwrap();
    }
}

pub fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

fn pass(store: &Scripted, time: f64) {
    store.clock().advance(seconds(time));
}

/// A store that panics when it is asked.
#[derive(Clone)]
struct Panicking(Scripted);

impl Backend for Panicking {
    type Grant = ();
    type Handle = Self;

    fn handle(&self) -> Self {
        self.clone()
    }

    fn site(&self) -> &Site {
        Backend::site(&self.0)
    }

    fn try_acquire(&self, _: &Claim) -> Result<Attempt<()>> {
        panic!("the store panics")
    }

    fn renew(&self, due: Renewal<'_, ()>) -> Result<()> {
        Backend::renew(&self.0, due)
    }

    fn release(&self, end: Release<'_, ()>) -> Result<()> {
        Backend::release(&self.0, end)
    }
}
