#[tenure::lock("order:{self.id}")]
fn ship() -> tenure::Result<()> {
    Ok(())
}

fn main() {}
