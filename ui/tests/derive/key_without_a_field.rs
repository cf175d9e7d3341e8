use tenure::Lockable;

#[derive(Lockable)]
#[lockable(model = "shop.order", key)]
struct Order {
    id: i64,
}

fn main() {}
