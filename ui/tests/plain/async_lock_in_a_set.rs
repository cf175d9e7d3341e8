use tenure::{LocMem, Lock, LockAll, aio};

fn job(store: &LocMem) -> tenure::Result<()> {
    LockAll::of((Lock::new(store, "ledger"), aio::Lock::new(store, "stock"))).acquire()?;
    Ok(())
}

fn main() {}
