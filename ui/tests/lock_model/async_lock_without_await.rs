use tenure::prelude::*;

#[derive(Lockable)]
#[lockable(model = "shop.order", key = id)]
struct Order {
    id: i64,
    shelf: u32,
    weight: f64,
}

async fn pay(order: Order) -> tenure::Result<()> {
    let held = tenure::aio::lock_model!(order)?;
    held.release().await
}

fn main() {}
