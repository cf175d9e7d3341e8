use tenure::{LocMem, Lock, Result};

fn job(store: &LocMem) -> Result<()> {
    Lock::new(store, "job").ttl(30).acquire()?.release()
}

fn main() {}
