struct Order;

impl Order {
    #[tenure::lock_model]
    fn pay(&self) -> tenure::Result<()> {
        Ok(())
    }
}

fn main() {}
