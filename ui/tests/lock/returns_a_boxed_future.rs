use std::pin::Pin;

struct Shop;

impl Shop {
    #[tenure::lock("order:{id}")]
    fn ship(&self, id: u64) -> Pin<Box<dyn Future<Output = tenure::Result<u64>> + Send + '_>> {
        Box::pin(async move { Ok(id) })
    }
}

fn main() {}
