use tenure::Lockable;

#[derive(Lockable)]
#[lockable(model = "shop.order", key = id)]
struct Order {
    id: i64,
    #[lockable(key)]
    shelf: u32,
}

fn main() {}
