use tenure::Lockable;

#[derive(Lockable)]
#[lockable(model = "shop.order")]
struct Order {
    id: i64,
}

fn main() {}
