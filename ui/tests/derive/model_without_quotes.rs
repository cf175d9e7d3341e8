use tenure::Lockable;

#[derive(Lockable)]
#[lockable(model = order, key = id)]
struct Order {
    id: i64,
}

fn main() {}
