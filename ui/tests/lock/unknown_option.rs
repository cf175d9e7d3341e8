#[tenure::lock("order:{id}", timeout = Duration::from_secs(5))]
fn ship(id: u64) -> tenure::Result<()> {
    Ok(())
}

fn main() {}
