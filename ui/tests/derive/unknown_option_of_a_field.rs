use tenure::Lockable;

#[derive(Lockable)]
#[lockable(model = "shop.order")]
struct Order {
    #[lockable(primary)]
    id: i64,
}

fn main() {}
