use tenure::Lockable;

#[derive(Clone)]
struct Uuid(u128);

#[derive(Lockable)]
#[lockable(model = "shop.order", key = id)]
struct Order {
    id: Uuid,
}

fn main() {}
