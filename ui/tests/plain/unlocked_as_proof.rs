use tenure::{Held, LocMem, Lock};

fn write(_: &Lock<LocMem, Held>) {}

fn job(store: &LocMem) {
    write(&Lock::new(store, "job"));
}

fn main() {}
