use tenure::Lockable;

#[derive(Lockable)]
#[lockable(model = "shop.order", key = id, key = shelf)]
struct Order {
    id: i64,
    shelf: u32,
}

fn main() {}
