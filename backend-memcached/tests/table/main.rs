//! What holds while things fail: every configuration under every fault, as the table declares it.
//!
//! `table.rs` declares, `rows.rs` starts configurations and opens stores, `faults.rs` does what fails. The rest
//! is that of Redis: `crew.rs` works meanwhile, `cell.rs` brings them together and judges, `broken.rs` has
//! stores that a cell must catch. `cargo xtask faults --seconds N` stays in each cell for longer.

#[path = "../../../backend-redis/tests/table/broken.rs"]
mod broken;
#[path = "../../../backend-redis/tests/table/cell.rs"]
mod cell;
#[path = "../../../backend-redis/tests/table/crew.rs"]
mod crew;
mod faults;
#[path = "../../../backend-redis/tests/table/other.rs"]
mod other;
#[path = "../../../backend-redis/tests/table/page.rs"]
mod page;
#[path = "../../../backend-redis/tests/table/row.rs"]
mod row;
mod rows;
#[path = "../../../backend-redis/tests/table/run.rs"]
mod run;
#[path = "../../../backend-redis/tests/table/store.rs"]
mod store;
mod table;

use std::process::ExitCode;

/// Cells wait for quarantines most of the time.
const AT_ONCE: usize = 20;

fn main() -> ExitCode {
    run::run("memcached", AT_ONCE)
}
