#[tenure::lock("order:{region}-{id}")]
fn ship(region: &str, id: u64) -> tenure::Result<()> {
    Ok(())
}

fn main() {}
