use tenure::{Lock, Result};

fn job() -> Result<()> {
    Lock::new("file:locks", "job").acquire()?.release()
}

fn main() {}
