#[tenure::lock("order:{id}", blocking = "no")]
fn ship(id: u64) -> tenure::Result<()> {
    Ok(())
}

fn main() {}
