use tenure::Lockable;

struct Uuid(u128);

#[derive(Lockable)]
#[lockable(model = "shop.order")]
struct Order {
    #[lockable(key, display)]
    id: Uuid,
}

fn main() {}
