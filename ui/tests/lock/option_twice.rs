#[tenure::lock("order:{id}", blocking = false, blocking = true)]
fn ship(id: u64) -> tenure::Result<()> {
    Ok(())
}

fn main() {}
