use tenure::{LocMem, Result, aio};

async fn job(store: &LocMem) -> Result<()> {
    let held = aio::Lock::new(store, "job").acquire()?;
    held.release().await
}

fn main() {}
