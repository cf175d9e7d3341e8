#[tenure::lock("order:{id}", wait = 5)]
fn ship(id: u64) -> tenure::Result<()> {
    Ok(())
}

fn main() {}
