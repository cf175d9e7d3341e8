use tenure::prelude::*;

#[derive(Lockable)]
#[lockable(model = "shop.order", key = id)]
struct Order {
    id: i64,
    shelf: u32,
    weight: f64,
}

#[derive(Debug)]
struct DbError;

impl Order {
    fn reload(&mut self) -> Result<(), DbError> {
        Ok(())
    }
}

fn pay(mut order: Order) -> tenure::Result<()> {
    let held = lock_model!(order, refresh = order.reload()).unwrap();
    held.release()
}

fn main() {}
