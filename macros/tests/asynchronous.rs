//! The same under asynchronous code, on two executors.

#[allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "shared by tests that use parts of it")]
mod support;

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use support::{break_lock, each_async_store, is_free};
use tenure::aio::{self, AnyBackend, lock_model};
use tenure::{Error, Held, LocMem, Lockable, Name, Result};

/// An error of an application.
#[derive(Debug)]
enum AppError {
    Lock(Error),
    Refused,
}

impl From<Error> for AppError {
    fn from(error: Error) -> Self {
        Self::Lock(error)
    }
}

#[derive(Clone, Lockable)]
#[lockable(model = "shop.order", key = id)]
struct Order {
    id: i64,
    shelf: u32,
    day: String,
    store: AnyBackend,
}

impl Order {
    fn new(id: i64, store: &AnyBackend) -> Self {
        Self { id, shelf: 3, day: "monday".into(), store: store.clone() }
    }

    async fn reload(&mut self) -> Result<(), AppError> {
        again().await;
        if self.id == 0 {
            return Err(AppError::Refused);
        }
        self.day = "tuesday".into();
        Ok(())
    }

    #[tenure::lock_model(on = &self.store, blocking = false)]
    async fn alone<T>(&self, work: impl AsyncFnOnce() -> T) -> Result<T> {
        Ok(work().await)
    }

    #[tenure::lock_model(shelf, %day, name = "audit", on = &self.store, held = held)]
    async fn audit(&self) -> Result<String> {
        again().await;
        Ok(held.name().to_owned())
    }

    #[tenure::lock_model(on = &self.store, refresh = self.reload().await)]
    async fn fresh_day(&mut self) -> Result<&mut String, AppError> {
        again().await;
        Ok(&mut self.day)
    }
}

#[tenure::lock("job", on = store, blocking = false)]
async fn job<T>(store: &AnyBackend, work: impl AsyncFnOnce() -> Result<T, AppError>) -> Result<T, AppError> {
    work().await
}

/// Pending once, woken at once.
async fn again() {
    let mut asked = false;
    std::future::poll_fn(|cx| {
        if std::mem::replace(&mut asked, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Polls until a lock that was dropped is free: that is done in the background.
async fn becomes_free(store: &tenure::AnyBackend, name: &str) {
    let asked = Instant::now();
    while !is_free(store, name) {
        assert!(asked.elapsed() < Duration::from_secs(10), "{name} was never freed");
        again().await;
    }
}

/// B26, D9
#[test]
fn the_lock_is_held_while_the_body_runs_and_not_only_while_the_future_is_made() {
    each_async_store(async |outside, store| {
        let future = job(&store, async || {
            assert!(!is_free(&outside, "job"));
            again().await;
            assert!(!is_free(&outside, "job"), "free after the first await");
            Ok(17)
        });
        assert!(is_free(&outside, "job"), "taken before the future was polled");
        assert_eq!(future.await.unwrap(), 17);
        assert!(is_free(&outside, "job"));
    });
}

/// B27, B28, D9
#[test]
fn a_nested_attempt_fails_and_its_body_is_not_run() {
    each_async_store(async |_, store| {
        let nested = job(&store, async || {
            again().await;
            Ok(job(&store, async || -> Result<(), AppError> { panic!("ran twice at once") }).await)
        });
        assert!(matches!(nested.await.unwrap(), Err(AppError::Lock(error)) if error.is_contended()));
    });
}

/// B29, D9
#[test]
fn the_lock_is_free_after_the_body_however_it_ends() {
    each_async_store(async |outside, store| {
        assert!(job(&store, async || Err::<(), _>(AppError::Refused)).await.is_err());
        assert!(is_free(&outside, "job"));
        for early in [true, false] {
            assert_eq!(leaves_early(&store, early).await.unwrap(), u8::from(early));
            assert!(is_free(&outside, "early"));
        }
        assert!(asks_early(&store).await.is_err());
        assert!(is_free(&outside, "early"));
    });
}

#[tenure::lock("early", on = store)]
async fn leaves_early(store: &AnyBackend, early: bool) -> Result<u8> {
    again().await;
    if early {
        return Ok(1);
    }
    again().await;
    Ok(0)
}

#[tenure::lock("early", on = store)]
async fn asks_early(store: &AnyBackend) -> Result<(), AppError> {
    again().await;
    Name::new("")?;
    unreachable!("an empty name is none")
}

#[test]
fn a_panic_in_the_body_frees_the_lock() {
    each_async_store(async |outside, store| {
        let panicked = {
            let mut future = pin!(job(&store, async || -> Result<(), AppError> {
                again().await;
                panic!("in the body")
            }));
            loop {
                let poll = || future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
                match std::panic::catch_unwind(std::panic::AssertUnwindSafe(poll)) {
                    Ok(polled) => assert!(polled.is_pending(), "it must not end"),
                    Err(_) => break true,
                }
                thread::yield_now();
            }
        };
        assert!(panicked);
        becomes_free(&outside, "job").await;
    });
}

#[test]
fn a_future_that_is_dropped_at_any_await_frees_the_lock() {
    each_async_store(async |outside, store| {
        for polls in 0.. {
            let future = Box::pin(job(&store, async || {
                again().await;
                again().await;
                Ok(())
            }));
            let done = polled(future, polls);
            becomes_free(&outside, "job").await;
            if done {
                assert!(polls > 2, "done before the body was");
                return;
            }
            assert!(polls < 100, "never done");
        }
    });
}

/// Polls a future so many times, whenever it wants to be polled, and drops it. Whether it was done.
fn polled<F: Future + Unpin>(mut future: F, times: u32) -> bool {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    for _ in 0..times {
        if Pin::new(&mut future).poll(&mut Context::from_waker(&waker)).is_ready() {
            return true;
        }
        thread::park_timeout(Duration::from_secs(10));
    }
    false
}

/// B30, B31, B32, B33
#[test]
fn the_name_is_made_of_arguments_fields_and_expressions() {
    struct Shop {
        region: String,
    }
    impl Shop {
        #[tenure::lock("stock:{self.region}:{id:03}:{}", number().await, on = store, held = held)]
        async fn take(&self, store: &AnyBackend, id: u32) -> Result<String> {
            Ok(held.name().to_owned())
        }
    }
    async fn number() -> u32 {
        again().await;
        9
    }
    each_async_store(async |_, store| {
        let shop = Shop { region: "a:b".into() };
        assert_eq!(shop.take(&store, 7).await.unwrap(), "stock:a%3Ab:007:9");
    });
}

#[test]
fn a_function_that_calls_itself_is_denied_its_own_lock_and_may_take_others() {
    #[tenure::lock("one name", on = store, blocking = false)]
    async fn same(store: &AnyBackend, depth: u32) -> Result<u32> {
        if depth == 0 { Ok(0) } else { Box::pin(same(store, depth - 1)).await }
    }
    #[tenure::lock("depth:{depth}", on = store, blocking = false)]
    async fn other(store: &AnyBackend, depth: u32) -> Result<u32> {
        if depth == 0 { Ok(17) } else { Box::pin(other(store, depth - 1)).await }
    }
    each_async_store(async |_, store| {
        assert!(same(&store, 1).await.is_err_and(|error| error.is_contended()));
        assert_eq!(same(&store, 0).await.unwrap(), 0);
        assert_eq!(other(&store, 5).await.unwrap(), 17);
    });
}

#[test]
fn a_loss_makes_an_error_of_success_and_none_of_an_error() {
    each_async_store(async |outside, store| {
        let lost = job(&store, async || Ok(break_lock(&outside, "job")?)).await;
        assert!(matches!(lost, Err(AppError::Lock(error)) if error.is_lost()));
        let refused = job(&store, async || {
            break_lock(&outside, "job")?;
            Err::<(), _>(AppError::Refused)
        });
        assert!(matches!(refused.await, Err(AppError::Refused)));
    });
}

/// B42, B45, B50, B55
#[test]
fn records_are_locked_by_key_by_field_and_under_a_name() {
    each_async_store(async |outside, store| {
        let order = Order::new(7, &store);
        let held = lock_model!(order, on = &store).await.unwrap();
        assert_eq!(held.name(), "shop.order:pk:7");
        let busy = lock_model!(order, on = &store, blocking = false).await;
        assert!(busy.is_err_and(|error| error.is_contended()));
        let busy = lock_model!(order, on = &store, wait = Duration::from_millis(20)).await;
        assert!(busy.is_err_and(|error| error.is_timed_out()));
        held.release().await.unwrap();
        assert!(is_free(&outside, "shop.order:pk:7"));
        let (ttl, blocking) = (Duration::from_secs(20), false);
        let held =
            lock_model!(order, shelf, on = &store, ttl = ttl, blocking = blocking, name = "audit").await;
        let held: aio::Lock<AnyBackend, Held> = held.unwrap();
        assert_eq!(held.name(), "audit:shelf:3");
        assert!(held.remaining().is_some_and(|left| left > ttl / 2 && left <= ttl));
    });
}

/// B56, D16
#[test]
fn a_record_is_reloaded_under_the_lock_and_a_failing_reload_releases_it() {
    each_async_store(async |outside, store| {
        let mut order = Order::new(7, &store);
        let held = lock_model!(order, on = &store, refresh = order.reload().await).await.unwrap();
        assert_eq!(order.day, "tuesday");
        held.release().await.unwrap();
        order.id = 0;
        let wait = Duration::from_secs(1);
        let failed = lock_model!(order, on = &store, refresh = order.reload().await, wait = wait).await;
        assert!(matches!(failed, Err(AppError::Refused)));
        assert!(is_free(&outside, "shop.order:pk:0"));
        let _held = lock_model!(order, on = &store).await.unwrap();
        let busy = lock_model!(order, on = &store, blocking = false, refresh = order.reload().await).await;
        assert!(matches!(busy, Err(AppError::Lock(error)) if error.is_contended()));
    });
}

/// B59, D16
#[test]
fn a_method_runs_on_the_reloaded_record_and_not_at_all_if_that_fails() {
    each_async_store(async |outside, store| {
        let mut order = Order::new(7, &store);
        assert_eq!(order.fresh_day().await.unwrap(), "tuesday");
        let mut order = Order::new(0, &store);
        assert!(matches!(order.fresh_day().await, Err(AppError::Refused)));
        assert!(is_free(&outside, "shop.order:pk:0"));
    });
}

#[test]
fn a_method_runs_with_its_record_locked() {
    each_async_store(async |outside, store| {
        let order = Order::new(7, &store);
        order
            .alone(async || {
                again().await;
                assert!(!is_free(&outside, "shop.order:pk:7"));
                assert!(order.alone(async || ()).await.is_err_and(|error| error.is_contended()));
                Order::new(8, &store).alone(async || ()).await.unwrap();
            })
            .await
            .unwrap();
        assert_eq!(order.audit().await.unwrap(), "audit:day:monday:shelf:3");
        assert!(is_free(&outside, "audit:day:monday:shelf:3"));
    });
}

#[test]
fn futures_are_send_and_own_what_they_need() {
    fn owned<F: Future + Send + 'static>(future: F) -> F {
        future
    }
    fn send<F: Future + Send>(future: F) -> F {
        future
    }
    let store: AnyBackend = LocMem::for_this_process_only().into();
    let future = {
        let order = Order::new(7, &store);
        let mut other = order.clone();
        drop(send(lock_model!(other, on = &store, refresh = other.reload().await)));
        drop(send(leaves_early(&store, true)));
        drop(send(other.audit()));
        drop(send(other.fresh_day()));
        owned(lock_model!(order, shelf, on = &store, wait = Duration::from_secs(1)))
    };
    let held = thread::spawn(|| pollster::block_on(future)).join().unwrap().unwrap();
    assert_eq!(held.name(), "shop.order:shelf:3");
}

#[test]
fn names_of_the_macro_are_not_seen_by_body_and_options() {
    #[tenure::lock("{lock}", on = held, wait = value, label = name, held = ttl)]
    async fn job(lock: &str, held: &LocMem, value: Duration, name: &str) -> Result<String> {
        let store = ttl.name();
        Ok([store, lock, name].concat())
    }
    let store = LocMem::for_this_process_only();
    assert_eq!(pollster::block_on(job("a", &store, Duration::ZERO, "mine")).unwrap(), "aamine");
}

#[test]
fn results_are_those_of_the_function() {
    struct Cart(Vec<u8>);
    impl Cart {
        #[tenure::lock("cart", on = &LocMem::for_this_process_only())]
        async fn each(&self) -> Result<impl Iterator<Item = &u8>, Box<dyn std::error::Error>> {
            if self.0.is_empty() {
                return Err("nothing in it".into());
            }
            again().await;
            Ok(self.0.iter())
        }

        #[tenure::lock("cart", on = &LocMem::for_this_process_only())]
        async fn boxed(&mut self) -> Result<Box<dyn FnMut() + Send + '_>> {
            if self.0.len() > 5 {
                return Ok(Box::new(|| ()));
            }
            Ok(Box::new(|| self.0.push(1)))
        }
    }
    let mut cart = Cart(vec![1, 2]);
    pollster::block_on(async {
        assert_eq!(cart.each().await.unwrap().count(), 2);
        cart.boxed().await.unwrap()();
        assert_eq!(cart.0, [1, 2, 1]);
        assert!(Cart(Vec::new()).each().await.is_err_and(|error| error.to_string() == "nothing in it"));
    });
}
