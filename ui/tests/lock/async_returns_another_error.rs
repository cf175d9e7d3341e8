#[derive(Debug)]
struct AppError;

#[tenure::lock("order:{id}")]
async fn ship(id: u64) -> Result<u64, AppError> {
    Ok(id)
}

fn main() {}
