use tenure::prelude::*;

#[derive(Lockable)]
#[lockable(model = "shop.order", key = id)]
struct Order {
    id: i64,
    shelf: u32,
    weight: f64,
}

fn pay(order: Order) -> tenure::Result<()> {
    let held = lock_model!(blocking = false)?;
    held.release()
}

fn main() {}
