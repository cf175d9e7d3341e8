#[derive(Debug)]
struct AppError;

#[tenure::lock("order:{id}")]
fn ship(id: u64) -> Result<u64, AppError> {
    if id == 0 {
        return Err(AppError);
    }
    Ok(id)
}

fn main() {}
