struct Order;

#[tenure::lock("order")]
impl Order {
    fn ship(&self) -> tenure::Result<()> {
        Ok(())
    }
}

fn main() {}
