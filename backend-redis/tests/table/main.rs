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
mod rows;
mod store;
mod table;
mod topology;

use std::process::ExitCode;

use tenure_servers::{self as servers, Outcome, Stop};

/// Cells wait most of the time.
const AT_ONCE: usize = 8;

fn main() -> ExitCode {
    other::work_if_asked();
    let mut tests: Vec<(String, Box<dyn FnOnce() -> Outcome + Send>)> = vec![
        ("the_page_shows_the_table".into(), Box::new(page::is_written)),
        ("every_cell_is_declared_once".into(), Box::new(table::is_complete)),
    ];
    for row in table::ROWS {
        for fault in faults::Fault::ALL {
            let name = format!("{}/{}", row.name, fault.name());
            tests.push((name, Box::new(move || hold(row, *fault))));
        }
    }
    for control in broken::CONTROLS {
        let name = format!("{}/is_caught_by_{}", control.row.name, control.fault.name());
        tests.push((name, Box::new(|| control.is_caught())));
    }
    servers::run_at_once("redis", AT_ONCE, tests)
}

/// A cell holds what it declares.
fn hold(row: &'static table::Row, fault: faults::Fault) -> Outcome {
    match row.class(fault) {
        None => Err(Stop::failed("this cell is not declared")),
        Some(table::Class::NotApplicable(why)) => Err(Stop::Ignored(why.into())),
        Some(class) => {
            let seen = cell::run(row, fault)?;
            let wrong = seen.wrong(class);
            if wrong.is_empty() { Ok(()) } else { Err(Stop::failed(seen.report(&wrong))) }
        }
    }
}
