#[tenure::lock("order")]
const fn ship() -> tenure::Result<()> {
    Ok(())
}

fn main() {}
