//! Runs cases on mutants and keeps `MUTANTS.md`: which case catches which fault.
//!
//! `cargo xtask matrix` is the command. Without arguments it judges the pairs that the file does not have:
//! those of a new fault or of a new case. With names of faults or cases it judges all of theirs anew and
//! prints why they failed, and with `all` everything, which takes half an hour. What fails because the
//! machine is busy looks like what is caught, so it should do nothing else meanwhile.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command speaks to its user")]

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fmt::Write;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use std::{env, fs, io, thread};

use tenure_conformance::mutants::{self, Fault};
use tenure_conformance::{Case, Need, Suite, Verdict, cases};

/// Which cases catch which fault, and why, where they were judged just now.
type Matrix = BTreeMap<&'static str, BTreeMap<String, String>>;

/// Makes this program judge the pairs of a fault; what it holds are names of the fault and of the cases.
const ROLE: &str = "TENURE_MATRIX_PAIRS";
/// How many mutants at once, and how many cases of each: cases mostly wait.
const AT_ONCE: (usize, usize) = (4, 6);
/// Cases that hang on a mutant fail after this time.
const PATIENCE: Duration = Duration::from_secs(60);

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/MUTANTS.md");

fn main() -> Result<(), Box<dyn Error>> {
    mutants::obey_if_agent();
    if let Ok(pairs) = env::var(ROLE) {
        println!("{}", serde_json::to_string(&judge(&pairs)?)?);
        // What hangs in a case that did ends here.
        std::process::exit(0);
    }
    let asked: Vec<_> = env::args().skip(1).collect();
    let all = asked.iter().any(|name| name == "all");
    let page = if all { String::new() } else { fs::read_to_string(FILE).unwrap_or_default() };
    let (mut matrix, known) = read(&page);
    let is_asked = |name: &str| asked.iter().any(|asked| asked == name);
    let due = |fault: Fault, case: &Case| {
        let new = !matrix.contains_key(fault.name()) || !known.contains(case.name());
        new || is_asked(fault.name()) || is_asked(case.name())
    };
    let pairs: Vec<(Fault, Vec<_>)> = Fault::all()
        .map(|fault| (fault, cases().filter(|case| due(fault, case)).map(Case::name).collect::<Vec<_>>()))
        .filter(|(_, cases)| !cases.is_empty())
        .collect();
    let done = AtomicUsize::new(0);
    let rows = in_parallel(AT_ONCE.0, &pairs, |(fault, cases)| {
        let row = in_a_process(*fault, cases)?;
        let done = done.fetch_add(1, Ordering::Relaxed) + 1;
        eprintln!("{done}/{} {fault}: caught by {} of {}", pairs.len(), row.len(), cases.len());
        io::Result::Ok((*fault, row))
    });
    let rows = rows.into_iter().collect::<io::Result<Vec<_>>>()?;
    for (fault, caught) in rows {
        for (case, why) in caught.iter().filter(|(case, _)| is_asked(fault.name()) || is_asked(case)) {
            println!("{fault}::{case}: {why}");
        }
        let row = matrix.entry(fault.name()).or_default();
        let judged =
            |case: &String| pairs.iter().any(|(of, cases)| *of == fault && cases.contains(&case.as_str()));
        row.retain(|case, _| !judged(case));
        row.extend(caught);
    }
    Ok(fs::write(FILE, write(&matrix))?)
}

/// Judges pairs in a process of their own, with which all ends that a broken store keeps from ending.
fn in_a_process(fault: Fault, cases: &[&str]) -> io::Result<BTreeMap<String, String>> {
    let pairs = [&[fault.name()], cases].concat().join(" ");
    let output = Command::new(env::current_exe()?).env(ROLE, pairs).stderr(Stdio::inherit()).output()?;
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// The cases that fail on a mutant, and why.
fn judge(pairs: &str) -> Result<BTreeMap<String, String>, Box<dyn Error>> {
    let (fault, names) = pairs.split_once(' ').ok_or("no cases are named")?;
    let fault = Fault::all().find(|known| known.name() == fault).ok_or("there is no such fault")?;
    let asked: Vec<_> = names.split(' ').collect();
    let asked: Vec<_> = cases().filter(|case| asked.contains(&case.name())).collect();
    let judged = in_parallel(AT_ONCE.1, &asked, |case| Some((case.name().to_owned(), fails(fault, case)?)));
    Ok(judged.into_iter().flatten().collect())
}

/// Why a case fails on a mutant, if it does.
fn fails(fault: Fault, case: &Case) -> Option<String> {
    let judge = |ttl| match suite(fault, case).patience(PATIENCE).shortest_ttl(ttl).judge(case.name()) {
        Verdict::Failed(why) => Some(why),
        _ => None,
    };
    let ttl = Duration::from_millis(250);
    match case.broken_by().contains(&fault) {
        // A machine that is too slow for so short a lifetime has shown nothing; see `tests/mutants.rs`.
        true => [ttl, ttl * 3, ttl * 9].into_iter().find_map(judge),
        // What fails only once may have failed because the machine was busy.
        false => judge(ttl).and_then(|_| judge(ttl)),
    }
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

/// The matrix of a page, and the cases that it knows.
fn read(page: &str) -> (Matrix, BTreeSet<String>) {
    let (faults, table) = page.split_once("\n## Cases\n").unwrap_or_default();
    let quoted = |text: &str| text.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
    let of_today = |name: &String| cases().any(|case| case.name() == name);
    let row = |fault: Fault| {
        let (_, section) = faults.split_once(&format!("\n### {fault}\n"))?;
        let section = section.split("\n### ").next()?;
        let names = quoted(section).into_iter().filter(of_today).map(|case| (case, String::new()));
        Some((fault.name(), names.collect()))
    };
    let known =
        table.lines().filter_map(|line| Some(line.strip_prefix("| `")?.split('`').next()?.to_owned()));
    (Fault::all().filter_map(row).collect(), known.collect())
}

fn write(matrix: &Matrix) -> String {
    let catches = |fault: Fault, case: &Case| matrix[fault.name()].contains_key(case.name());
    let mut page = format!(
        "# Mutants\n\nWritten by `cargo xtask matrix`: {} stores with one fault each, {} cases, and {} pairs of both \
         in which the case fails on the store.\n\nEvery mutant is caught and every case is needed. \
         `tests/mutants.rs` proves that with the pairs in bold, which fail in every run; of the others some \
         are a matter of luck.\n\n## Mutants\n",
        matrix.len(),
        cases().count(),
        matrix.values().map(BTreeMap::len).sum::<usize>(),
    );
    for fault in Fault::all() {
        let bold = |case: &Case| if case.broken_by().contains(&fault) { "**" } else { "" };
        let caught: Vec<_> = cases()
            .filter(|case| catches(fault, case))
            .map(|case| format!("{bold}`{}`{bold}", case.name(), bold = bold(case)))
            .collect();
        let (sentence, count) = (fault.sentence(), caught.len());
        let _ = writeln!(page, "\n### {fault}\n\n{sentence}\n\nCaught by {count}: {}.", caught.join(", "));
    }
    page.push_str("\n## Cases\n\n| case | fails on | of them in every run |\n|---|---|---|\n");
    for case in cases() {
        let count = Fault::all().filter(|fault| catches(*fault, case)).count();
        let sure: Vec<_> = case.broken_by().iter().map(|fault| fault.name()).collect();
        let _ = writeln!(page, "| `{}` | {count} | {} |", case.name(), sure.join(", "));
    }
    page
}
