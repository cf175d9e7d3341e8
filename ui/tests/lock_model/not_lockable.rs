use tenure::prelude::*;

struct Order {
    id: i64,
}

fn pay(order: &Order) -> tenure::Result<()> {
    let held = lock_model!(order)?;
    held.release()
}

fn main() {}
