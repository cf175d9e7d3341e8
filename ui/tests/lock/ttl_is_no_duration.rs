#[tenure::lock("order:{id}", ttl = id)]
fn ship(id: u64) -> tenure::Result<()> {
    Ok(())
}

fn main() {}
