use tenure::{LocMem, Lock, LockAll};

fn job(store: &LocMem) -> tenure::Result<()> {
    let ledger = Lock::new(store, "ledger").acquire()?;
    LockAll::of((ledger, Lock::new(store, "stock"))).acquire()?;
    Ok(())
}

fn main() {}
