//! The contract, on a SQLite file, for asynchronous code, without any runtime.

use std::process::ExitCode;

use tenure_conformance::Suite;
use tenure_core::aio::block_on;
use tenure_db::Db;

fn main() -> ExitCode {
    Suite::new("sqlite-async")
        .open_async(|spec| {
            let url = format!("sqlite:{}", spec.place());
            let store = Db::builder(&url).settings(spec.settings().clone());
            Ok(block_on(store.connect_async())?.into())
        })
        .exempt("a_forked_child_is_denied_like_any_other", "in a forked child SQLite is refused")
        .run()
}
