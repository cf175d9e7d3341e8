use tenure::Lockable;

#[derive(Lockable)]
#[lockable(model = "shop.order", key = id)]
union Order {
    id: i64,
}

fn main() {}
