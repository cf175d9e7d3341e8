#[tenure::lock("order:{order}")]
fn ship(id: u64, region: &str) -> tenure::Result<()> {
    Ok(())
}

fn main() {}
