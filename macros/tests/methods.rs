//! Methods that lock their record while they run: `#[tenure::lock_model]`.

#[allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "shared by tests that use parts of it")]
mod support;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use support::{break_lock, each_store, is_free, panics};
use tenure::{AnyBackend, Error, LocMem, Lockable, Result};

#[derive(Clone, Lockable)]
#[lockable(model = "shop.order", key = id)]
struct Order {
    id: i64,
    shelf: u32,
    day: String,
    store: AnyBackend,
}

#[derive(Debug)]
enum AppError {
    Lock(Error),
    Gone,
}

impl From<Error> for AppError {
    fn from(error: Error) -> Self {
        Self::Lock(error)
    }
}

/// The error of a database, which knows nothing of locks.
#[derive(Debug)]
struct DbError;

impl From<DbError> for AppError {
    fn from(_: DbError) -> Self {
        Self::Gone
    }
}

impl Order {
    fn new(id: i64, store: &AnyBackend) -> Self {
        Self { id, shelf: 3, day: "monday".into(), store: store.clone() }
    }

    fn is_free(&self, key: &str) -> bool {
        is_free(&self.store, &["shop.order:", key].concat())
    }

    #[tenure::lock_model(on = &self.store, blocking = false)]
    fn alone<T>(&self, work: impl FnOnce() -> T) -> Result<T> {
        Ok(work())
    }

    #[tenure::lock_model(shelf, blocking = false, on = &self.store)]
    fn alone_at_the_shelf<T>(&self, work: impl FnOnce() -> T) -> Result<T> {
        Ok(work())
    }

    #[tenure::lock_model(day, %shelf, name = "audit", on = &self.store, wait = Duration::ZERO, held = held)]
    fn audit(&mut self) -> Result<String> {
        self.day.push('!');
        Ok(held.name().to_owned())
    }

    fn reload(&mut self) -> Result<(), DbError> {
        assert!(!self.is_free(&format!("pk:{}", self.id)), "reloaded without the lock");
        if self.id == 0 {
            return Err(DbError);
        }
        self.day = "tuesday".into();
        Ok(())
    }

    #[tenure::lock_model(on = &self.store, blocking = false, refresh = self.reload())]
    fn fresh_day(&mut self) -> Result<&mut String, AppError> {
        Ok(&mut self.day)
    }

    #[tenure::lock_model(on = &self.store)]
    fn day(&mut self) -> Result<&mut String> {
        Ok(&mut self.day)
    }

    #[tenure::lock_model(on = &self.store, held = held)]
    fn into_day(self) -> Result<(String, String)> {
        Ok((held.name().to_owned(), self.day))
    }

    #[tenure::lock_model(on = &self.store)]
    fn shared(self: Arc<Self>) -> Result<i64> {
        Ok(self.id)
    }

    #[tenure::lock_model(on = &self.store)]
    fn pinned(self: Pin<&mut Self>) -> Result<i64> {
        Ok(self.id)
    }

    #[expect(clippy::needless_arbitrary_self_type, reason = "it can be written like this")]
    #[tenure::lock_model(on = &self.store)]
    fn itself(self: Self) -> Result<i64> {
        Ok(self.id)
    }
}

/// B41, B42, B43
#[test]
fn a_method_runs_with_its_record_locked_and_others_free() {
    each_store(|store| {
        let order = Order::new(7, store);
        let ran = order.alone(|| {
            assert!(!order.is_free("pk:7") && order.is_free("shelf:3"));
            assert!(order.alone(|| ()).is_err_and(|error| error.is_contended()));
            Order::new(8, store).alone(|| 17).unwrap()
        });
        assert_eq!(ran.unwrap(), 17);
        assert!(order.is_free("pk:7"));
        assert!(panics(|| order.alone(|| panic!("in the body"))));
        assert!(order.is_free("pk:7"));
    });
}

/// B45, B46, B47
#[test]
fn a_method_can_lock_by_fields() {
    each_store(|store| {
        let (order, other) = (Order::new(7, store), Order { shelf: 4, ..Order::new(7, store) });
        order
            .alone_at_the_shelf(|| {
                assert!(!order.is_free("shelf:3") && order.is_free("pk:7"));
                let same = Order::new(8, store).alone_at_the_shelf(|| ());
                assert!(same.is_err_and(|error| error.is_contended()));
                other.alone_at_the_shelf(|| ()).unwrap();
            })
            .unwrap();
    });
}

/// B50, B51
#[test]
fn a_name_replaces_the_model_of_a_method() {
    each_store(|store| {
        let mut order = Order::new(7, store);
        assert_eq!(order.audit().unwrap(), "audit:day:monday:shelf:3");
        assert_eq!(order.audit().unwrap(), "audit:day:monday!:shelf:3");
    });
}

/// B57, B59
#[test]
fn a_method_runs_on_the_reloaded_record_only_if_told_to() {
    each_store(|store| {
        let mut order = Order::new(7, store);
        assert_eq!(order.day().unwrap(), "monday");
        assert_eq!(order.fresh_day().unwrap(), "tuesday");
        assert!(order.is_free("pk:7"));
    });
}

/// D16
#[test]
fn a_failing_reload_releases_the_lock_and_the_body_is_not_run() {
    each_store(|store| {
        let mut order = Order::new(0, store);
        assert!(matches!(order.fresh_day(), Err(AppError::Gone)));
        assert!(order.is_free("pk:0"));
        let _held = tenure::Lock::new(store, "shop.order:pk:0").acquire().unwrap();
        assert!(matches!(order.fresh_day(), Err(AppError::Lock(error)) if error.is_contended()));
    });
}

#[test]
fn a_method_whose_lock_was_lost_does_not_succeed() {
    each_store(|store| {
        let lost = Order::new(7, store).alone(|| break_lock(store, "shop.order:pk:7").unwrap());
        assert!(lost.is_err_and(|error| error.is_lost()));
    });
}

#[test]
fn every_kind_of_self_can_be_locked() {
    let store = LocMem::for_this_process_only().into();
    let mut order = Order::new(7, &store);
    assert_eq!(Arc::new(order.clone()).shared().unwrap(), 7);
    assert_eq!(Pin::new(&mut order).pinned().unwrap(), 7);
    assert_eq!(order.clone().itself().unwrap(), 7);
    assert_eq!(order.into_day().unwrap(), ("shop.order:pk:7".into(), "monday".into()));
}
