#[tenure::lock("order:{id + 1}")]
fn ship(id: u64) -> tenure::Result<()> {
    Ok(())
}

fn main() {}
