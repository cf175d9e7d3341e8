use std::time::Duration;

#[tenure::lock("order:{id}", wait = Duration::from_secs(5), blocking = false)]
fn ship(id: u64) -> tenure::Result<()> {
    Ok(())
}

fn main() {}
