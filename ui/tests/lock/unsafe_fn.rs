#[tenure::lock("order")]
unsafe fn ship() -> tenure::Result<()> {
    Ok(())
}

fn main() {}
