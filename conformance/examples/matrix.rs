//! Runs every case on every mutant and writes `MUTANTS.md`: which case catches which fault.
//!
//! `cargo xtask matrix` is the command. It takes half an hour, and wants a machine that
//! does nothing else: what fails because it is busy looks like what is caught. With names of faults as
//! arguments it only prints what the cases say of these.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command speaks to its user")]

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use std::{env, fs, io, thread};

use serde::{Deserialize, Serialize};
use tenure_conformance::mutants::{self, Fault};
use tenure_conformance::{Case, Need, Suite, Verdict, cases};

/// What one case said of one mutant.
#[derive(Serialize, Deserialize)]
struct Cell {
    case: String,
    /// `None` if it does not run on such a store.
    caught: Option<bool>,
    why: String,
}

/// The variable that makes this program run the cases of one mutant.
const ROLE: &str = "TENURE_MATRIX_FAULT";
/// How many mutants at once, and how many cases of each: cases mostly wait.
const AT_ONCE: (usize, usize) = (4, 6);

/// Cases that hang on a mutant fail after this time.
const PATIENCE: Duration = Duration::from_secs(30);

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/MUTANTS.md");

fn main() -> Result<(), Box<dyn Error>> {
    mutants::obey_if_agent();
    if let Ok(name) = env::var(ROLE) {
        let fault = Fault::all().find(|fault| fault.name() == name).ok_or("there is no such fault")?;
        println!("{}", serde_json::to_string(&judge(fault))?);
        // What hangs in a case that did ends here.
        std::process::exit(0);
    }
    let asked: Vec<_> = env::args().skip(1).collect();
    let is_asked = |fault: &Fault| asked.is_empty() || asked.iter().any(|name| name == fault.name());
    let faults: Vec<_> = Fault::all().filter(is_asked).collect();
    let done = AtomicUsize::new(0);
    let rows = in_parallel(AT_ONCE.0, &faults, |fault| {
        let row = in_a_process(*fault)?;
        let caught = row.iter().filter(|cell| cell.caught == Some(true)).count();
        let done = done.fetch_add(1, Ordering::Relaxed) + 1;
        eprintln!("{done}/{} {fault}: caught by {caught}", faults.len());
        Ok((fault.name(), row))
    });
    let rows = rows.into_iter().collect::<io::Result<Rows>>()?;
    if asked.is_empty() {
        return Ok(fs::write(FILE, page(&rows))?);
    }
    for (fault, row) in rows {
        for cell in row.iter().filter(|cell| cell.caught == Some(true)) {
            println!("{fault}::{}: {}", cell.case, cell.why);
        }
    }
    Ok(())
}

/// Judges a mutant in a process of its own, with which all ends that a broken store keeps from ending.
fn in_a_process(fault: Fault) -> io::Result<Vec<Cell>> {
    let mut program = Command::new(env::current_exe()?);
    let output = program.env(ROLE, fault.name()).stderr(Stdio::inherit()).output()?;
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn judge(fault: Fault) -> Vec<Cell> {
    let all: Vec<_> = cases().collect();
    in_parallel(AT_ONCE.1, &all, |case| {
        let judge = || suite(fault, case).patience(PATIENCE).judge(case.name());
        // What fails once only may have failed because the machine was busy.
        let verdict = match judge() {
            Verdict::Failed(_) => judge(),
            verdict => verdict,
        };
        let (caught, why) = match verdict {
            Verdict::Passed => (Some(false), String::new()),
            Verdict::Failed(why) => (Some(true), why),
            other => (None, format!("{other:?}")),
        };
        Cell { case: case.name().into(), caught, why }
    })
}

/// The store as threads meet it, unless only tasks can.
fn suite(fault: Fault, case: &Case) -> Suite {
    match case.needs().contains(&Need::Polled) || fault.is_of_tasks() {
        true => mutants::suite_async(fault),
        false => mutants::suite(fault),
    }
}

fn in_parallel<T: Sync, R: Send>(threads: usize, all: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let (next, results) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let results_of = || results.lock().unwrap_or_else(PoisonError::into_inner);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(one) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let result = work(one);
                    results_of().push(result);
                }
            });
        }
    });
    results.into_inner().unwrap_or_else(PoisonError::into_inner)
}

type Rows = BTreeMap<&'static str, Vec<Cell>>;

fn page(rows: &Rows) -> String {
    let cells = || rows.values().flatten();
    let (ran, caught) = (
        cells().filter(|cell| cell.caught.is_some()).count(),
        cells().filter(|cell| cell.caught == Some(true)).count(),
    );
    let mut page = format!(
        "# Mutants\n\nWritten by `cargo xtask matrix`. {} mutants, {} cases, {ran} pairs of both that go together, of \
         which {caught} fail. Every mutant is caught, and every case is needed; `tests/mutants.rs` proves \
         that with the pairs in bold, which fail in every run. Of the others some are a matter of luck.\n\n## Mutants\n",
        rows.len(),
        cases().count(),
    );
    for fault in Fault::all() {
        let row = &rows[fault.name()];
        let (caught, passed): (Vec<_>, Vec<_>) =
            cases().filter(|case| ran_on(row, case)).partition(|case| is_caught(row, case));
        let _ = writeln!(page, "\n### {fault}\n\n{}\n", fault.sentence());
        let names = |cases: &[&Case]| list(cases.iter().map(|case| name(case, fault)));
        let _ = if caught.len() > passed.len() {
            let sure: Vec<_> = pairs_of(fault).collect();
            writeln!(page, "Caught by {}: {}, and all but {}.", caught.len(), names(&sure), names(&passed))
        } else {
            writeln!(page, "Caught by {}: {}.", caught.len(), names(&caught))
        };
    }
    page.push_str("\n## Cases\n\n| case | fails on | of them surely |\n|---|---|---|\n");
    for case in cases() {
        let count = rows.values().filter(|row| is_caught(row, case)).count();
        let sure = list(case.broken_by().iter().map(|fault| fault.to_string()));
        let _ = writeln!(page, "| `{}` | {count} | {sure} |", case.name());
    }
    page
}

/// The cases that are tested with a fault.
fn pairs_of(fault: Fault) -> impl Iterator<Item = &'static Case> {
    cases().filter(move |case| case.broken_by().contains(&fault))
}

fn cell<'r>(row: &'r [Cell], case: &Case) -> Option<&'r Cell> {
    row.iter().find(|cell| cell.case == case.name())
}

fn ran_on(row: &[Cell], case: &Case) -> bool {
    cell(row, case).is_some_and(|cell| cell.caught.is_some())
}

fn is_caught(row: &[Cell], case: &Case) -> bool {
    cell(row, case).is_some_and(|cell| cell.caught == Some(true))
}

fn name(case: &Case, fault: Fault) -> String {
    let bold = if case.broken_by().contains(&fault) { "**" } else { "" };
    format!("{bold}`{}`{bold}", case.name())
}

fn list(names: impl Iterator<Item = String>) -> String {
    names.collect::<Vec<_>>().join(", ")
}
