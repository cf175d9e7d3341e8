#![deny(unused_must_use)]

use tenure::prelude::*;

#[derive(Lockable)]
#[lockable(model = "shop.order", key = id)]
struct Order {
    id: i64,
    shelf: u32,
    weight: f64,
}

fn pay(order: Order) -> tenure::Result<()> {
    lock_model!(order)?;
    Ok(())
}

fn main() {}
