//! The cases, and what each covers.
//!
//! A case's name is the claim that it checks. [`Covers`] ties it to the behaviour of the Python
//! library `django-cache-lock` (68 rows) and to its measured defects (21): whoever comes from there
//! finds each of them here, or in [`ELSEWHERE`].

mod exclusion;
mod fence;
mod inspect;
mod lifetime;
mod loss;
mod names;
mod outage;
mod processes;
mod release;
mod renewal;
mod restore;
mod waiting;

use std::time::{Duration, Instant};

use tenure_core::{Error, Kind};

use crate::failure::{Failure, Outcome, ensure};
pub use crate::suite::Context;

/// One claim about every store.
#[derive(Debug)]
pub struct Case {
    /// The claim, in snake case.
    pub name: &'static str,
    /// What it covers of `django-cache-lock`.
    pub covers: &'static [Covers],
    /// What a store must have for it.
    pub needs: &'static [Need],
    pub(crate) run: fn(&Context) -> Outcome,
}

/// What of `django-cache-lock` a case covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Covers {
    /// A behaviour, by its row.
    Row(u8),
    /// A defect that must not be here.
    Defect(u8),
}

/// What a store must have for a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Other processes can reach it.
    Processes,
    /// It is `Inspect`.
    Inspect,
    /// It is `Restore`.
    Restore,
    /// It has `SessionLocks`.
    Sessions,
    /// The suite was told how to make it unreachable.
    Outage,
}

impl Need {
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Processes => "one process only",
            Self::Inspect => "no Inspect",
            Self::Restore => "no Restore",
            Self::Sessions => "no SessionLocks",
            Self::Outage => "no outage to be made",
        }
    }
}

/// All cases.
pub fn all() -> impl Iterator<Item = &'static Case> {
    [
        exclusion::CASES,
        release::CASES,
        lifetime::CASES,
        renewal::CASES,
        restore::CASES,
        waiting::CASES,
        fence::CASES,
        loss::CASES,
        names::CASES,
        inspect::CASES,
        processes::CASES,
        outage::CASES,
    ]
    .into_iter()
    .flatten()
}

/// What is not covered by a case, and why.
pub const ELSEWHERE: &[(Covers, &str)] = &[
    (Covers::Row(20), "a limit is an argument of `acquire_for`; there is no other to override"),
    (Covers::Row(21), "core tests the pace of polling against a store that counts"),
    (Covers::Row(22), "core tests the pace of polling against a store that counts"),
    (Covers::Row(26), "models and decorators have tests of their own"),
    (Covers::Row(27), "models and decorators have tests of their own"),
    (Covers::Row(28), "models and decorators have tests of their own"),
    (Covers::Row(29), "models and decorators have tests of their own"),
    (Covers::Row(30), "models and decorators have tests of their own"),
    (Covers::Row(31), "models and decorators have tests of their own"),
    (Covers::Row(32), "models and decorators have tests of their own"),
    (Covers::Row(33), "models and decorators have tests of their own"),
    (Covers::Defect(5), "cache traffic: no store here is a cache; each says what evicts it"),
    (Covers::Defect(9), "decorators have tests of their own"),
    (Covers::Defect(12), "there are no client options to choose wrongly"),
    (Covers::Defect(16), "a reload is part of models, which have tests of their own"),
    (Covers::Defect(17), "`release` returns a `Result`; an unsupported store does not compile"),
    (Covers::Defect(18), "transactions of a caller: the SQL stores test their own connections"),
];

/// Rows 41 to 59 are about models, which have tests of their own.
pub const MODEL_ROWS: std::ops::RangeInclusive<u8> = 41..=59;

/// A lifetime that is over soon, and yet long beside the pauses of a busy machine.
const SHORT: Duration = Duration::from_millis(200);

/// A time within which everything that is to happen has happened.
const SOON: Duration = Duration::from_secs(20);

/// Waits until something is so.
fn until(what: &str, condition: impl Fn() -> Outcome<bool>) -> Outcome {
    let limit = Instant::now() + SOON;
    while !condition()? {
        ensure!(Instant::now() < limit, "{what}: not within {SOON:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// Demands an error of a kind.
fn refused<T>(result: tenure_core::Result<T>, kind: Kind) -> Outcome<Error> {
    match result {
        Ok(_) => Err(Failure::new(format!("expected an error of kind {kind:?}, but it succeeded"))),
        Err(error) if error.kind() == kind => Ok(error),
        Err(error) => Err(Failure::new(format!("expected an error of kind {kind:?}, got {error:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_names_are_unique() {
        let mut names: Vec<_> = all().map(|case| case.name).collect();
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]));
    }

    #[test]
    fn there_are_enough_cases() {
        assert!(all().count() >= 80, "{}", all().count());
    }

    #[test]
    fn every_row_and_every_defect_is_covered_or_its_absence_explained() {
        let covered = |wanted: Covers| {
            all().any(|case| case.covers.contains(&wanted))
                || ELSEWHERE.iter().any(|(other, _)| *other == wanted)
        };
        let rows = (1..=68).filter(|row| !MODEL_ROWS.contains(row)).map(Covers::Row);
        let missing: Vec<_> =
            rows.chain((1..=21).map(Covers::Defect)).filter(|wanted| !covered(*wanted)).collect();
        assert!(missing.is_empty(), "{missing:?}");
    }
}
