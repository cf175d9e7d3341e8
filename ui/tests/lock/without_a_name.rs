#[tenure::lock]
fn ship(id: u64) -> tenure::Result<()> {
    Ok(())
}

fn main() {}
