use tenure::Lockable;

#[derive(Lockable)]
#[lockable(model = "shop.order", key = id)]
struct Order {
    #[lockable(display)]
    id: i64,
}

fn main() {}
