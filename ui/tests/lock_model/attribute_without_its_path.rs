use tenure::prelude::*;

#[derive(Lockable)]
#[lockable(model = "shop.order", key = id)]
struct Order {
    id: i64,
    shelf: u32,
    weight: f64,
}

impl Order {
    #[lock_model]
    fn pay(&self) -> tenure::Result<()> {
        Ok(())
    }
}

fn main() {}
