#[tenure::lock("order")]
struct Order {
    id: u64,
}

fn main() {}
