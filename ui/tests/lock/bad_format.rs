#[tenure::lock("order:{id:wide}")]
fn ship(id: u64) -> tenure::Result<()> {
    Ok(())
}

fn main() {}
