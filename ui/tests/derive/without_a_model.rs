use tenure::Lockable;

#[derive(Lockable)]
#[lockable(key = id)]
struct Order {
    id: i64,
}

fn main() {}
