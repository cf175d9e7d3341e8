use tenure::{Held, LocMem, Lock, Result, aio};

fn write(_: &Lock<LocMem, Held>) {}

async fn job(store: &LocMem) -> Result<()> {
    let held = aio::Lock::new(store, "job").acquire().await?;
    write(&held);
    held.release().await
}

fn main() {}
