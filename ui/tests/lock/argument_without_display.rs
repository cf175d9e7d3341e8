struct Order {
    id: u64,
}

#[tenure::lock("order:{order}")]
fn ship(order: &Order) -> tenure::Result<()> {
    Ok(())
}

fn main() {}
