//! The table as a page for people.

use std::env;
use std::fmt::Write;
use std::fs;

use tenure_servers::{Outcome, Stop};

use crate::faults::Fault;
use crate::row::Class;
use crate::table::{PACKAGE, ROWS};

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/FAULTS.md");

const HEAD: &str = "# What holds while things fail

Written by `TENURE_FAULTS_BLESS=1 cargo test -p PACKAGE --all-features --test table page` from the table that
the tests read; each cell that says one of these is a test against real servers.

* **exclusive**: no two holders believe at once that they hold a lock.
* **fence-only**: two may, for as long as a lease lasts; then a resource that compares fences lets nothing of the
  first one through that comes after the second.

Under every fault: fences never go back, nothing stale passes a comparison of fences, a server that is down is
`Unavailable` in time and never looks like one on which somebody holds the lock, and everybody who works gets a lock
again soon after the fault is over.

";

/// A test: the page in the repository is that of this table.
pub(crate) fn is_written() -> Outcome {
    let page = page();
    if env::var_os("TENURE_FAULTS_BLESS").is_some() {
        fs::write(PATH, &page)?;
    }
    if fs::read_to_string(PATH)? == page { Ok(()) } else { Err(Stop::failed("FAULTS.md is out of date")) }
}

fn page() -> String {
    let mut page = HEAD.replace("PACKAGE", PACKAGE);
    for row in ROWS {
        line(&mut page, &format!("* `{}`: {}; work goes on within {:?}", row.name, row.about, row.resumes));
    }
    line(&mut page, "");
    let names: String = ROWS.iter().map(|row| format!(" {} |", row.name)).collect();
    line(&mut page, &format!("| fault |{names}"));
    line(&mut page, &format!("|---|{}", "---|".repeat(ROWS.len())));
    let mut notes: Vec<&str> = Vec::new();
    for fault in Fault::ALL {
        let cells: String =
            ROWS.iter().map(|row| format!(" {} |", cell(row.class(*fault), &mut notes))).collect();
        line(&mut page, &format!("| {} |{cells}", fault.about()));
    }
    line(&mut page, "");
    for (number, note) in notes.iter().enumerate() {
        line(&mut page, &format!("{}. {note}", number + 1));
    }
    page
}

fn cell(class: Option<Class>, notes: &mut Vec<&str>) -> String {
    match class {
        None => "undeclared".into(),
        Some(Class::Exclusive) => "exclusive".into(),
        Some(Class::FenceOnly) => "fence-only".into(),
        Some(Class::NotApplicable(why)) => {
            if !notes.contains(&why) {
                notes.push(why);
            }
            let number = notes.iter().position(|note| *note == why).map_or(0, |place| place + 1);
            format!("({number})")
        }
    }
}

fn line(page: &mut String, text: &str) {
    writeln!(page, "{text}").expect("a text can always be written to");
}
