//! The cells as tests.

use std::process::ExitCode;

use tenure_servers::{self as servers, Outcome, Stop};

use crate::{cell, faults, other, page, row, table};

/// Runs all cells of a table, so many at once.
pub(crate) fn run(suite: &'static str, at_once: usize) -> ExitCode {
    other::work_if_asked();
    let mut tests: Vec<(String, Box<dyn FnOnce() -> Outcome + Send>)> = vec![
        ("the_page_shows_the_table".into(), Box::new(page::is_written)),
        ("every_cell_is_declared_once".into(), Box::new(row::is_complete)),
    ];
    for row in table::ROWS {
        for fault in faults::Fault::ALL {
            let name = format!("{}/{}", row.name, fault.name());
            tests.push((name, Box::new(move || hold(row, *fault))));
        }
    }
    for control in table::CONTROLS {
        let name = format!("{}/is_caught_by_{}", control.row.name, control.fault.name());
        tests.push((name, Box::new(|| control.is_caught())));
    }
    servers::run_at_once(suite, at_once, tests)
}

/// A cell holds what it declares.
fn hold(row: &'static row::Row, fault: faults::Fault) -> Outcome {
    match row.class(fault) {
        None => Err(Stop::failed("this cell is not declared")),
        Some(row::Class::NotApplicable(why)) => Err(Stop::Ignored(why.into())),
        Some(class) => {
            let seen = cell::run(row, fault)?;
            let wrong = seen.wrong(class);
            if wrong.is_empty() { Ok(()) } else { Err(Stop::failed(seen.report(&wrong))) }
        }
    }
}
