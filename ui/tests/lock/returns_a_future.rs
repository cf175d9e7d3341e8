#[tenure::lock("order:{id}")]
fn ship(id: u64) -> impl Future<Output = tenure::Result<u64>> {
    async move { Ok(id) }
}

fn main() {}
