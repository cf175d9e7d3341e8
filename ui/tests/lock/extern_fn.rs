#[tenure::lock("order")]
extern "C" fn ship() -> tenure::Result<()> {
    Ok(())
}

fn main() {}
