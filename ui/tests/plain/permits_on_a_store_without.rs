use tenure::{Files, Lock, Result};

fn job(store: &Files) -> Result<()> {
    Lock::new(store, "job").permit(3).acquire()?.release()
}

fn main() {}
