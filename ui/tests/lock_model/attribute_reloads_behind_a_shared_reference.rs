use tenure::Lockable;

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

impl Order {
    #[tenure::lock_model(refresh = self.reload())]
    fn pay(&self) -> tenure::Result<()> {
        Ok(())
    }
}

fn main() {}
