#![deny(unused_must_use)]

use tenure::{LocMem, Lock, Result};

fn job(store: &LocMem) -> Result<()> {
    Lock::new(store, "job").acquire()?;
    Ok(())
}

fn main() {}
