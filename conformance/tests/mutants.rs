//! The suite is tested: each case fails on the mutants that it names, and each mutant is named.
//!
//! Arguments choose among pairs of a mutant and a case, as they choose among tests.

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

fn check(condition: bool, message: &str) -> Result<(), Failed> {
    if condition { Ok(()) } else { Err(message.into()) }
}
