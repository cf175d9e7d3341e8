use tenure::prelude::*;

struct Order {
    shelf: u32,
}

fn pay(order: Order) -> tenure::Result<()> {
    let held = lock_model!(order, shelf)?;
    held.release()
}

fn main() {}
