//! What holds while things fail: every configuration under every fault, as the table declares it.
//!
//! `table.rs` declares, `rows.rs` starts configurations and opens stores, `faults.rs` does what fails,
//! `crew.rs` works meanwhile, `cell.rs` brings them together and judges. `broken.rs` has stores that a cell
//! must catch. `cargo xtask faults --seconds N` stays in each cell for longer.

mod broken;
mod cell;
mod crew;
mod faults;
mod other;
mod page;
mod row;
mod rows;
mod run;
mod store;
mod table;
mod topology;

use std::process::ExitCode;

/// Cells wait most of the time.
const AT_ONCE: usize = 8;

fn main() -> ExitCode {
    run::run("redis", AT_ONCE)
}
