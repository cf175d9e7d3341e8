use tenure::{LocMem, Lock, LockAll};

fn job(store: &LocMem) -> tenure::Result<()> {
    LockAll::of(["ledger", "stock"].map(|name| Lock::new(store, name))).acquire()?;
    Ok(())
}

fn main() {}
