//! The suite is tested: each case fails on the mutants that it names, and each mutant is named.
//!
//! Arguments choose among pairs of a mutant and a case, as they choose among tests.

use std::fs;
use std::process::ExitCode;
use std::time::Duration;

use libtest_mimic::{Arguments, Failed, Trial};
use tenure_conformance::mutants::{self, Fault};
use tenure_conformance::{Case, Need, Suite, Verdict, cases};

/// Cases mostly wait.
const AT_ONCE: usize = 16;

/// The lifetimes that cases let pass. A machine that is too slow for the first has shown nothing when it
/// lets a mutant through; for the suite itself the same holds the other way round.
const LIFETIMES: [Duration; 3] =
    [Duration::from_millis(250), Duration::from_millis(750), Duration::from_millis(2250)];

fn main() -> ExitCode {
    mutants::obey_if_agent();
    let mut arguments = Arguments::from_args();
    arguments.test_threads = arguments.test_threads.or(Some(AT_ONCE));
    let mut trials: Vec<_> = pairs().map(|(fault, case)| trial(fault, case)).collect();
    trials.push(Trial::test("every_mutant_is_named_by_a_case", every_mutant_is_named_by_a_case));
    trials.push(Trial::test("the_matrix_is_of_today", the_matrix_is_of_today));
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn pairs() -> impl Iterator<Item = (Fault, &'static Case)> {
    cases().flat_map(|case| case.broken_by().iter().map(move |fault| (*fault, case)))
}

fn trial(fault: Fault, case: &'static Case) -> Trial {
    Trial::test(format!("{fault}::{}", case.name()), move || {
        for ttl in LIFETIMES {
            match suite(fault, case).shortest_ttl(ttl).judge(case.name()) {
                Verdict::Failed(message) => return about_the_claim(&message),
                Verdict::Passed => {}
                verdict => return Err(format!("the case does not run on this store: {verdict:?}").into()),
            }
        }
        Err("a store that is broken is not caught".into())
    })
}

/// The store as threads meet it, unless only tasks can.
fn suite(fault: Fault, case: &Case) -> Suite {
    match case.needs().contains(&Need::Polled) || fault.is_of_tasks() {
        true => mutants::suite_async(fault),
        false => mutants::suite(fault),
    }
}

/// A case that hangs, or that cannot go on, says nothing about its claim.
fn about_the_claim(message: &str) -> Result<(), Failed> {
    const OTHERS: &[&str] =
        &["expected an end within", "panicked", "the suite itself", "could not be opened", "an agent said"];
    match OTHERS.iter().any(|words| message.contains(words)) {
        true => Err(format!("the case failed for another reason: {message}").into()),
        false => Ok(()),
    }
}

fn every_mutant_is_named_by_a_case() -> Result<(), Failed> {
    let unnamed: Vec<_> = Fault::all().filter(|fault| !pairs().any(|(named, _)| named == *fault)).collect();
    check(unnamed.is_empty(), &format!("no case is tested with {unnamed:?}"))
}

fn the_matrix_is_of_today() -> Result<(), Failed> {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/MUTANTS.md"))?;
    let (faults, table) = page.split_once("\n## Cases\n").ok_or("MUTANTS.md has no table of cases")?;
    let mut sections = faults.split("\n### ").skip(1);
    for fault in Fault::all() {
        let section = sections.next().unwrap_or_default();
        let begins = section.starts_with(&format!("{fault}\n\n{}\n", fault.sentence()));
        check(begins, &format!("MUTANTS.md does not have {fault} in its place; run `cargo xtask matrix`"))?;
        for (_, case) in pairs().filter(|(named, _)| *named == fault) {
            let sure = section.contains(&format!("**`{}`**", case.name()));
            check(sure, &format!("MUTANTS.md has no {} for {fault}; run `cargo xtask matrix`", case.name()))?;
        }
    }
    check(sections.next().is_none(), "MUTANTS.md has more mutants than there are; run `cargo xtask matrix`")?;
    let listed: Vec<_> =
        table.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    let today: Vec<_> = cases().map(Case::name).collect();
    check(listed == today, "MUTANTS.md has other cases than there are; run `cargo xtask matrix`")
}

fn check(condition: bool, message: &str) -> Result<(), Failed> {
    if condition { Ok(()) } else { Err(message.into()) }
}
