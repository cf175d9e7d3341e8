struct Order;

#[tenure::lock("order:{order.self}")]
fn ship(order: &Order) -> tenure::Result<()> {
    Ok(())
}

fn main() {}
