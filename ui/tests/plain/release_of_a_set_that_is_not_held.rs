use tenure::{LocMem, LockAll};

fn job(store: &LocMem) -> tenure::Result<()> {
    LockAll::new(store, ["ledger", "stock"]).release()
}

fn main() {}
