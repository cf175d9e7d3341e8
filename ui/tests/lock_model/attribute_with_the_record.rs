use tenure::Lockable;

#[derive(Lockable)]
#[lockable(model = "shop.order", key = id)]
struct Order {
    id: i64,
    shelf: u32,
    weight: f64,
}

impl Order {
    #[tenure::lock_model(self.shelf)]
    fn pay(&self) -> tenure::Result<()> {
        Ok(())
    }
}

fn main() {}
