use tenure::{LocMem, Lock, Result};

fn job(store: &LocMem) -> Result<()> {
    Lock::new(store, "job").release()
}

fn main() {}
