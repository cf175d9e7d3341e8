use tenure::{Files, Lock, Result};

fn job(store: &Files) -> Result<()> {
    Lock::new(store, "job").shared().acquire()?.release()
}

fn main() {}
