#[tenure::lock("order:{id}", blocking = false, wait)]
fn ship(id: u64) -> tenure::Result<()> {
    Ok(())
}

fn main() {}
