struct Order;

impl Order {
    #[tenure::lock("order:{self.id()}")]
    fn ship(&self) -> tenure::Result<()> {
        Ok(())
    }

    fn id(&self) -> u64 {
        7
    }
}

fn main() {}
