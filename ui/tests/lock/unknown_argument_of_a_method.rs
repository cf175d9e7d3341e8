struct Shop;

impl Shop {
    #[tenure::lock("order:{id}")]
    fn ship(&self) -> tenure::Result<()> {
        Ok(())
    }
}

fn main() {}
