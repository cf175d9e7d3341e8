#[tenure::lock("order:{id}", id)]
fn ship(id: u64) -> tenure::Result<()> {
    Ok(())
}

fn main() {}
