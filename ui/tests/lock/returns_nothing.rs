#[tenure::lock("order:{id}")]
fn ship(id: u64) {
    println!("{id}");
}

fn main() {}
