use tenure::prelude::*;

#[derive(Lockable)]
#[lockable(model = "shop.order", key = id)]
struct Order {
    id: i64,
    shelf: u32,
    weight: f64,
}

impl Order {
    async fn reload(&mut self) -> tenure::Result<()> {
        Ok(())
    }
}

async fn pay(mut order: Order) -> tenure::Result<()> {
    let held = tenure::aio::lock_model!(order, refresh = order.reload()).await?;
    held.release().await
}

fn main() {}
