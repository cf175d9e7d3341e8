use tenure::{LocMem, Result, aio};

async fn job(store: &LocMem) -> Result<()> {
    aio::Lock::new(store, "job").release().await
}

fn main() {}
