#[tenure::lock("order:{id}")]
fn ship(id: u64) -> tenure::Result<u64> {
    Ok(held.fence().get())
}

fn main() {}
