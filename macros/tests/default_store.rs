//! The default store of the process. One test, because it is one process.

use tenure::prelude::*;
use tenure::{LocMem, Result, aio};

#[derive(Lockable)]
#[lockable(model = "shop.order", key = id)]
struct Order {
    id: i64,
}

impl Order {
    #[tenure::lock_model(held = held)]
    fn pay(&self) -> Result<String> {
        Ok(held.name().to_owned())
    }

    #[tenure::lock_model(held = held)]
    async fn pay_async(&self) -> Result<String> {
        Ok(held.name().to_owned())
    }
}

#[tenure::lock("order:{id}", held = held)]
fn ship(id: u64) -> Result<String> {
    Ok(held.name().to_owned())
}

#[tenure::lock("order:{id}", held = held)]
async fn ship_async(id: u64) -> Result<String> {
    Ok(held.name().to_owned())
}

#[test]
fn without_a_store_it_is_the_default_and_without_a_default_an_error_that_says_what_to_call() {
    let order = Order { id: 7 };
    let blocking = || [lock_model!(order).map(|held| held.name().to_owned()), order.pay(), ship(7)];
    let awaited = || {
        pollster::block_on(async {
            let record = aio::lock_model!(order).await.map(|held| held.name().to_owned());
            [record, order.pay_async().await, ship_async(7).await]
        })
    };
    for (results, advice) in
        [(blocking(), "`tenure::install(store)`"), (awaited(), "`tenure::aio::install(store)`")]
    {
        for result in results {
            let error = result.unwrap_err();
            assert!(error.is_no_default() && error.to_string().contains(advice), "{error}");
        }
    }
    tenure::install(LocMem::for_this_process_only()).unwrap();
    aio::install(LocMem::for_this_process_only()).unwrap();
    for results in [blocking(), awaited()] {
        assert_eq!(results.map(Result::unwrap), ["shop.order:pk:7", "shop.order:pk:7", "order:7"]);
    }
}
