use tenure::{AnyBackend, Lock, Result};

fn job(store: &AnyBackend) -> Result<()> {
    Lock::new(store, "job").session().acquire()?.release()
}

fn main() {}
