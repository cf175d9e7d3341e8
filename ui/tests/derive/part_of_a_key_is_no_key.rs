use tenure::Lockable;

#[derive(Clone)]
struct Uuid(u128);

#[derive(Lockable)]
#[lockable(model = "shop.order", key = (tenant, id))]
struct Order {
    tenant: u32,
    id: Uuid,
}

fn main() {}
