use tenure::{LocMem, Lock, Result};

fn job(store: &LocMem) -> Result<()> {
    Lock::new(store, 7).acquire()?.release()
}

fn main() {}
