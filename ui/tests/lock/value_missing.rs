#[tenure::lock("order:{}:{}", id)]
fn ship(id: u64) -> tenure::Result<()> {
    Ok(())
}

fn main() {}
