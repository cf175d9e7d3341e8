use tenure::Lockable;

#[derive(Lockable)]
#[lockable(model = "shop.order")]
enum Order {
    Open { id: i64 },
    Paid { id: i64 },
}

fn main() {}
