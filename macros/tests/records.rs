//! Locks on records, where they stand: `lock_model!`.

#[allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "shared by tests that use parts of it")]
mod support;

use std::time::Duration;

use support::{break_lock, each_store, is_free, panics};
use tenure::prelude::*;
use tenure::{AnyBackend, Error, LocMem};

#[derive(Clone, Lockable)]
#[lockable(model = "shop.order", key = id)]
struct Order {
    id: i64,
    customer: u32,
    shelf: u32,
    day: String,
    pk: u32,
}

/// Another model with the same keys and fields.
#[derive(Lockable)]
#[lockable(model = "shop.refund", key = id)]
struct Refund {
    id: i64,
    customer: u32,
}

fn order(id: i64) -> Order {
    Order { id, customer: 3, shelf: 3, day: "monday".into(), pk: 7 }
}

/// B41, B52
#[test]
fn the_default_name_is_model_pk_and_key() {
    each_store(|store| {
        let held = lock_model!(order(7), on = store).unwrap();
        assert_eq!(held.name(), "shop.order:pk:7");
        assert!(!is_free(store, "shop.order:pk:7"));
        held.release().unwrap();
        assert!(is_free(store, "shop.order:pk:7"));
    });
}

/// B42, B53, B54
#[test]
fn a_record_that_is_locked_is_denied_until_the_scope_ends() {
    each_store(|store| {
        let order = order(7);
        {
            let _held = lock_model!(order, on = store).unwrap();
            let nested = lock_model!(order, on = store, blocking = false);
            assert!(nested.is_err_and(|error| error.is_contended()));
        }
        lock_model!(order, on = store, blocking = false).unwrap().release().unwrap();
    });
}

/// B43, B44
#[test]
fn another_record_and_another_model_are_not_locked() {
    each_store(|store| {
        let _held = lock_model!(order(7), on = store).unwrap();
        lock_model!(order(8), on = store, blocking = false).unwrap().release().unwrap();
        lock_model!(Refund { id: 7, customer: 3 }, on = store, blocking = false).unwrap().release().unwrap();
    });
}

/// B45, B46, B47
#[test]
fn a_field_locks_all_records_with_its_value_and_no_others() {
    each_store(|store| {
        let held = lock_model!(order(7), customer, on = store).unwrap();
        assert_eq!(held.name(), "shop.order:customer:3");
        let same = lock_model!(order(8), customer, on = store, blocking = false);
        assert!(same.is_err_and(|error| error.is_contended()));
        let other = Order { customer: 4, ..order(7) };
        lock_model!(other, customer, on = store, blocking = false).unwrap().release().unwrap();
        lock_model!(Refund { id: 7, customer: 3 }, customer, on = store, blocking = false)
            .unwrap()
            .release()
            .unwrap();
    });
}

/// B48, B49, D20
#[test]
fn fields_keys_and_several_fields_are_different_locks() {
    each_store(|store| {
        let order = Order { customer: 7, shelf: 7, ..order(7) };
        let all = [
            lock_model!(order, on = store, blocking = false).unwrap(),
            lock_model!(order, customer, on = store, blocking = false).unwrap(),
            lock_model!(order, shelf, on = store, blocking = false).unwrap(),
            lock_model!(order, pk, on = store, blocking = false).unwrap(),
            lock_model!(order, customer, shelf, on = store, blocking = false).unwrap(),
        ];
        assert_eq!(all[3].name(), "shop.order:%pk:7");
        assert_eq!(all[4].name(), "shop.order:customer:7:shelf:7");
    });
}

#[test]
fn the_order_of_the_fields_does_not_matter() {
    each_store(|store| {
        let _held = lock_model!(order(7), customer, day, on = store).unwrap();
        let turned = lock_model!(order(8), day, customer, on = store, blocking = false);
        assert!(turned.is_err_and(|error| error.is_contended()));
    });
}

/// B50, B51, B55
#[test]
fn a_name_replaces_the_model() {
    each_store(|store| {
        let order = order(7);
        let _held = lock_model!(order, name = "audit", on = store, blocking = false).unwrap();
        assert!(!is_free(store, "audit:pk:7"));
        assert!(is_free(store, "shop.order:pk:7"));
        lock_model!(order, name = String::from("review"), on = store, blocking = false)
            .unwrap()
            .release()
            .unwrap();
        let again = lock_model!(order, blocking = false, on = store, name = "audit");
        assert!(again.is_err_and(|error| error.is_contended()));
        let by_day = lock_model!(order, day, name = "audit", on = store).unwrap();
        assert_eq!(by_day.name(), "audit:day:monday");
    });
}

/// D20
#[test]
fn values_that_contain_separators_never_meet_others() {
    each_store(|store| {
        let fields = Order { day: "monday:shelf:3".into(), ..order(7) };
        let field = Order { day: "monday".into(), ..order(7) };
        let one = lock_model!(fields, day, on = store, blocking = false).unwrap();
        let other = lock_model!(field, day, shelf, on = store, blocking = false).unwrap();
        assert_eq!(one.name(), "shop.order:day:monday%3Ashelf%3A3");
        assert_eq!(other.name(), "shop.order:day:monday:shelf:3");
        let named = lock_model!(field, name = "shop.order:pk", on = store, blocking = false).unwrap();
        assert_eq!(named.name(), "shop.order%3Apk:pk:7");
    });
}

/// B56, B57, B58
#[test]
fn a_record_is_reloaded_once_the_lock_is_held_and_only_if_told_to() {
    each_store(|store| {
        let mut order = order(7);
        let held = lock_model!(order, on = store).unwrap();
        assert_eq!(order.day, "monday");
        held.release().unwrap();
        let reload = |order: &mut Order| {
            assert!(!is_free(store, "shop.order:pk:7"), "reloaded without the lock");
            order.day = "tuesday".into();
            Ok::<_, Error>(17)
        };
        let held = lock_model!(order, on = store, refresh = reload(&mut order)).unwrap();
        assert_eq!(order.day, "tuesday");
        // The name keeps the value from before.
        held.release().unwrap();
        let held = lock_model!(order, day, on = store, refresh = later(&mut order)).unwrap();
        assert_eq!((held.name(), order.day.as_str()), ("shop.order:day:tuesday", "wednesday"));
    });
}

fn later(order: &mut Order) -> tenure::Result<()> {
    order.day = "wednesday".into();
    Ok(())
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

fn gone(_: &mut Order) -> Result<(), AppError> {
    Err(AppError::Gone)
}

fn panicking() -> tenure::Result<()> {
    unreachable!("no order was ever reloaded by this")
}

/// D16
#[test]
fn a_failing_reload_releases_the_lock_and_is_the_error() {
    each_store(|store| {
        let mut order = order(7);
        let failed = lock_model!(order, on = store, refresh = gone(&mut order));
        assert!(matches!(failed, Err(AppError::Gone)), "{failed:?}");
        assert!(is_free(store, "shop.order:pk:7"));
        assert!(panics(|| { lock_model!(order, on = store, refresh = panicking()) }));
        assert!(is_free(store, "shop.order:pk:7"));
        let escaped = (|| -> Result<(), AppError> {
            let _held: Lock<AnyBackend, Held> =
                lock_model!(order, on = store, refresh = Ok::<_, AppError>(gone(&mut order)?))?;
            Ok(())
        })();
        assert!(escaped.is_err());
        assert!(is_free(store, "shop.order:pk:7"));
    });
}

/// D16
#[test]
fn a_record_is_not_reloaded_if_the_lock_is_not_got() {
    each_store(|store| {
        let mut order = order(7);
        let _held = lock_model!(order, on = store).unwrap();
        let busy = lock_model!(order, on = store, blocking = false, refresh = gone(&mut order));
        assert!(matches!(busy, Err(AppError::Lock(error)) if error.is_contended()));
    });
}

#[test]
fn waiting_is_limited_and_lifetime_and_label_are_passed_on() {
    each_store(|store| {
        let order = order(7);
        let limit = Duration::from_secs(20);
        let held = lock_model!(order, label = "importer", ttl = limit, on = store).unwrap();
        assert!(held.remaining().is_some_and(|left| left > limit / 2 && left <= limit));
        let seen = store.inspect().unwrap().inspect(&tenure::Name::of(&order).unwrap()).unwrap().unwrap();
        assert_eq!(seen.label(), "importer");
        let busy = lock_model!(order, wait = Duration::from_millis(20), on = store);
        assert!(busy.is_err_and(|error| error.is_timed_out()));
        let busy = lock_model!(order, blocking = true, wait = Duration::ZERO, on = store);
        assert!(busy.is_err_and(|error| error.is_timed_out()));
    });
}

#[test]
fn whether_to_wait_can_be_decided_at_run_time() {
    each_store(|store| {
        let order = order(7);
        for blocking in [true, false] {
            lock_model!(order, on = store, blocking = blocking).unwrap().release().unwrap();
        }
        let _held = lock_model!(order, on = store).unwrap();
        let busy = lock_model!(order, on = store, blocking = 1 > 2);
        assert!(busy.is_err_and(|error| error.is_contended()));
    });
}

#[test]
fn everything_is_evaluated_once_and_fields_when_the_lock_is_taken() {
    each_store(|store| {
        let (mut records, mut stores, mut waits) = (0, 0, 0);
        let mut order = order(7);
        order.shelf = 12;
        let held = lock_model!(
            {
                records += 1;
                &order
            },
            shelf,
            day,
            on = {
                stores += 1;
                store
            },
            wait = {
                waits += 1;
                Duration::ZERO
            }
        );
        assert_eq!(held.unwrap().name(), "shop.order:day:monday:shelf:12");
        assert_eq!((records, stores, waits), (1, 1, 1));
    });
}

#[test]
fn records_are_locked_through_whatever_leads_to_them() {
    each_store(|store| {
        let mut order = order(7);
        let name = |held: tenure::Result<Lock<AnyBackend, Held>>| held.unwrap().name().to_owned();
        assert_eq!(name(lock_model!(&order, on = store)), "shop.order:pk:7");
        assert_eq!(name(lock_model!(&&order, shelf, on = store)), "shop.order:shelf:3");
        assert_eq!(name(lock_model!(&mut order, on = store)), "shop.order:pk:7");
        assert_eq!(name(lock_model!(Box::new(order.clone()), shelf, on = store)), "shop.order:shelf:3");
        assert_eq!(
            name(lock_model!(*std::sync::Mutex::new(order.clone()).lock().unwrap(), on = store)),
            "shop.order:pk:7"
        );
        assert_eq!(name(lock_model!([order][0], shelf, on = store)), "shop.order:shelf:3");
    });
}

#[test]
fn names_of_the_macro_are_not_seen_by_its_arguments() {
    each_store(|store| {
        let (name, lock, held, record) = (order(7), "audit", 12, Duration::ZERO);
        let got = lock_model!(name, shelf, name = lock, wait = record, label = format!("{held}"), on = store);
        assert_eq!(got.unwrap().name(), "audit:shelf:3");
    });
}

#[test]
fn a_loss_is_told_as_of_any_lock() {
    each_store(|store| {
        let held = lock_model!(order(7), on = store).unwrap();
        break_lock(store, "shop.order:pk:7").unwrap();
        assert!(held.release().is_err_and(|error| error.is_lost()));
    });
}

#[test]
fn a_typed_store_gives_a_typed_lock() {
    let store = LocMem::for_this_process_only();
    let held: tenure::Result<Lock<LocMem, Held>> = lock_model!(order(7), on = std::sync::Arc::new(&store));
    held.unwrap().release().unwrap();
}

#[test]
fn a_bad_name_is_an_error_of_the_acquisition() {
    let store = LocMem::for_this_process_only();
    let long = Order { day: "x".repeat(tenure::Name::MAX_LEN), ..order(7) };
    assert!(lock_model!(long, day, on = &store).is_err_and(|error| error.is_invalid_name()));
}

/// The crate under another name: its default store is always there, and its `Lockable` is another one.
mod renamed {
    pub(super) mod locks {
        pub(crate) use tenure::*;

        pub(crate) trait Lockable {
            const MODEL: &'static str;
            type Key;
            fn lock_key(&self) -> Self::Key;
        }

        pub(crate) mod __macros {
            pub(crate) use tenure::__macros::*;
            use tenure::{IntoName, LocMem, Lock, Result};

            pub(crate) fn lock_of_default(
                name: impl IntoName,
                _: Option<std::time::Duration>,
                _: Option<Box<str>>,
            ) -> Result<Lock<LocMem>> {
                Ok(Lock::new(LocMem::for_this_process_only(), name))
            }
        }
    }
}

impl Order {
    #[tenure::lock_model(shelf, crate = renamed::locks)]
    fn pay(&self) -> tenure::Result<()> {
        Ok(())
    }
}

#[test]
fn the_crate_can_have_another_name() {
    #[derive(Lockable)]
    #[lockable(model = "m", key = (id, id), crate = renamed::locks)]
    struct Row {
        id: u8,
    }
    #[tenure::lock("order:{id}", crate = renamed::locks)]
    fn ship(id: u8) -> tenure::Result<()> {
        Ok(())
    }
    let order = order(7);
    lock_model!(order, shelf, crate = renamed::locks).unwrap().release().unwrap();
    ship(7).unwrap();
    order.pay().unwrap();
    assert_eq!(renamed::locks::Lockable::lock_key(&Row { id: 4 }), (4, 4));
    assert_eq!(<Row as renamed::locks::Lockable>::MODEL, "m");
}
