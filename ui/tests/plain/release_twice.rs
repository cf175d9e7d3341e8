use tenure::{LocMem, Lock, Result};

fn job(store: &LocMem) -> Result<()> {
    let held = Lock::new(store, "job").acquire()?;
    held.release()?;
    held.release()
}

fn main() {}
