use tenure::{Handle, Held, Lock, Result, SharedLocks};

fn write<B: Handle>(_: &Lock<B, Held>) {}

fn job<B: Handle + SharedLocks>(store: &B) -> Result<()> {
    let share = Lock::new(store, "job").shared().acquire()?;
    write(&share);
    share.release()
}

fn main() {}
