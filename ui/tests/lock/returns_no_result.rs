#[tenure::lock("order:{id}")]
fn ship(id: u64) -> Option<u64> {
    Some(id)
}

fn main() {}
