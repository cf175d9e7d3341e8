use tenure::Lockable;

#[derive(Lockable)]
#[lockable(model = "", key = id)]
struct Order {
    id: i64,
}

fn main() {}
