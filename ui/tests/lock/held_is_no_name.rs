#[tenure::lock("order:{id}", held = true)]
fn ship(id: u64) -> tenure::Result<()> {
    Ok(())
}

fn main() {}
