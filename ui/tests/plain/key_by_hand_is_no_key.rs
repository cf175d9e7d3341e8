use tenure::Lockable;

#[derive(Clone)]
struct Uuid(u128);

struct Order {
    id: Uuid,
}

impl Lockable for Order {
    const MODEL: &'static str = "shop.order";
    type Key = Uuid;
    fn lock_key(&self) -> Uuid {
        self.id.clone()
    }
}

fn main() {}
