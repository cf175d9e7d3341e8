use tenure::Lockable;

#[derive(Lockable)]
struct Order {
    id: i64,
}

fn main() {}
