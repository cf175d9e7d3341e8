//! The contract, on a SQLite file.

use std::process::ExitCode;

use tenure_conformance::Suite;
use tenure_db::Db;

fn main() -> ExitCode {
    Suite::new("sqlite")
        .open(|spec| {
            let url = format!("sqlite:{}", spec.place());
            Ok(Db::builder(&url).settings(spec.settings().clone()).connect()?.into())
        })
        .exempt("a_forked_child_is_denied_like_any_other", "in a forked child SQLite is refused")
        .run()
}
