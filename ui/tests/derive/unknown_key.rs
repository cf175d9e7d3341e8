use tenure::Lockable;

#[derive(Lockable)]
#[lockable(model = "shop.order", key = number)]
struct Order {
    id: i64,
    shelf: u32,
}

fn main() {}
