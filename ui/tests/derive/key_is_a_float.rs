use tenure::Lockable;

#[derive(Lockable)]
#[lockable(model = "shop.order", key = id)]
struct Order {
    id: f64,
}

fn main() {}
