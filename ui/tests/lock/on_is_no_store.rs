#[tenure::lock("order:{id}", on = "file:locks")]
fn ship(id: u64) -> tenure::Result<()> {
    Ok(())
}

fn main() {}
