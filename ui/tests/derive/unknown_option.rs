use tenure::Lockable;

#[derive(Lockable)]
#[lockable(table = "shop.order", key = id)]
struct Order {
    id: i64,
}

fn main() {}
