use tenure::prelude::*;

#[derive(Lockable)]
#[lockable(model = "shop.order", key = id)]
struct Order {
    id: i64,
    shelf: u32,
    weight: f64,
}

impl Order {
    fn reload(&mut self) -> tenure::Result<()> {
        Ok(())
    }
}

fn pay(mut order: Order) -> tenure::Result<()> {
    let held = lock_model!(order, refresh = order.reload()?)?;
    held.release()
}

fn main() {}
