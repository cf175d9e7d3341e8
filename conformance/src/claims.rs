//! What the cases cover of the Python library `django-cache-lock`.
//!
//! Whoever comes from there finds each of its behaviours and each of its measured defects in a case, or
//! in [`ELSEWHERE`] with the reason why there is none.

/// What it does, by number.
pub const ROWS: &[(u8, &str)] = &[
    (1, "the key is the configured prefix, `lock:` by default, and the name"),
    (2, "another prefix applies to new locks; a held one is released under its own"),
    (3, "an attempt on a free name succeeds"),
    (4, "a second attempt on a held name fails, whoever makes it"),
    (5, "that failure is told apart from every other"),
    (6, "names are independent"),
    (7, "a released name can be taken again"),
    (8, "waiting for a free name ends at once"),
    (9, "a release by somebody who does not hold the lock is reported"),
    (10, "and leaves the holder's lock in place"),
    (11, "the holder's release frees it"),
    (12, "a holder knows whether it holds, whatever others try"),
    (13, "a release never removes a lock whose token is another"),
    (14, "nor after expiry, at whatever instant that falls"),
    (15, "a lock with a lifetime frees itself, no earlier than that"),
    (16, "the old holder learns of the loss"),
    (17, "and its late release does no harm"),
    (18, "never earlier on a store that counts seconds either"),
    (19, "a wait with a limit fails after the limit, and soon"),
    (20, "the limit of a call wins over the lock's"),
    (21, "the poll interval can be set"),
    (22, "and is kept where polling is used"),
    (23, "the stored token can be read back"),
    (24, "a scope holds the lock inside"),
    (25, "and frees it afterwards"),
    (
        26,
        "a wrapped function runs with the lock held, a nested attempt fails, and the lock is free afterwards",
    ),
    (
        27,
        "a wrapped function runs with the lock held, a nested attempt fails, and the lock is free afterwards",
    ),
    (
        28,
        "a wrapped function runs with the lock held, a nested attempt fails, and the lock is free afterwards",
    ),
    (
        29,
        "a wrapped function runs with the lock held, a nested attempt fails, and the lock is free afterwards",
    ),
    (30, "the name may be computed from the arguments of the call"),
    (31, "the name may be computed from the arguments of the call"),
    (32, "the name may be computed from the arguments of the call"),
    (33, "the name may be computed from the arguments of the call"),
    (34, "the handle that acquired owns the lock"),
    (35, "another handle of the name does not"),
    (36, "ownership is a value, never a thread"),
    (37, "ownership is a value, never a thread"),
    (38, "ownership is a value, never a thread"),
    (39, "another process sees the lock held"),
    (40, "unrelated names stay free for it"),
    (41, "the lock of a record is named by its model, `pk` and the key"),
    (42, "a second attempt on a locked record fails"),
    (43, "another record of the model stays free"),
    (44, "and so does a record of another model with the same key"),
    (45, "a record can be locked by a field, whose name and value are in the lock's name"),
    (46, "that locks all records with the same value of the field"),
    (47, "another value of the field stays free"),
    (48, "another field with the same value stays free"),
    (49, "several fields are a lock of their own"),
    (50, "a given name replaces the model"),
    (51, "locks under different given names are independent"),
    (52, "a record can be locked for a scope, by the same name"),
    (53, "a nested attempt on its record fails"),
    (54, "which is free after the scope"),
    (55, "options are given to a scope as to a function"),
    (56, "a record is loaded again once the lock is held"),
    (57, "and before the work on it begins"),
    (58, "a scope can be told whether to load it again"),
    (59, "and so can a wrapped function"),
    (60, "the holder can extend"),
    (61, "others cannot"),
    (62, "extending after a loss fails"),
    (63, "and says so"),
    (64, "extending can set another lifetime"),
    (65, "a lock with a lifetime can lose its end"),
    (66, "and is then held until it is released"),
    (67, "the owner can take its lock up again, which extends it"),
    (68, "and inserts nothing"),
];

/// What is wrong with it, by number.
pub const DEFECTS: &[(u8, &str)] = &[
    (1, "files: looks and takes in two steps; most races have two winners"),
    (2, "databases: takes an expired row over in two steps"),
    (3, "looking at an expired lock deletes the next holder's"),
    (4, "releases by reading and deleting in two steps"),
    (5, "ordinary traffic evicts held locks"),
    (6, "lifetimes below a second are granted and not stored, or steal"),
    (7, "lifetimes are counted in whole seconds and end early"),
    (8, "a forked child's drop frees its parent's lock"),
    (9, "wrapping an asynchronous function protects nothing"),
    (10, "no fences, no renewal, and a lost lock goes unnoticed"),
    (11, "a killed holder keeps its lock for ever"),
    (12, "some options never release"),
    (13, "a store that is down, or a long name, looks like a held lock"),
    (14, "polling: slow hand-over, late time-outs, starving waiters"),
    (15, "the token is forgotten before a release has arrived"),
    (16, "a failing reload leaves the lock held"),
    (17, "a release returns nothing, and a listed backend is not there"),
    (18, "locks join the caller's transaction"),
    (19, "a collation makes two names one"),
    (20, "names joined of unescaped parts make two locks one"),
    (21, "a late extension overwrites the next holder"),
];

/// What of these no case here covers, and why.
pub const ELSEWHERE: &[(Claim, &str)] = &[
    (Claim::Row(21), "core tests the pace of polling on a clock of its own"),
    (Claim::Row(22), "core tests the pace of polling on a clock of its own"),
    (Claim::Row(26), WRAPPED),
    (Claim::Row(27), WRAPPED),
    (Claim::Row(28), WRAPPED),
    (Claim::Row(29), WRAPPED),
    (Claim::Row(30), WRAPPED),
    (Claim::Row(31), WRAPPED),
    (Claim::Row(32), WRAPPED),
    (Claim::Row(33), WRAPPED),
    (Claim::Row(41), RECORDS),
    (Claim::Row(42), RECORDS),
    (Claim::Row(43), RECORDS),
    (Claim::Row(44), RECORDS),
    (Claim::Row(45), RECORDS),
    (Claim::Row(46), RECORDS),
    (Claim::Row(47), RECORDS),
    (Claim::Row(48), RECORDS),
    (Claim::Row(49), RECORDS),
    (Claim::Row(50), RECORDS),
    (Claim::Row(51), RECORDS),
    (Claim::Row(52), RECORDS),
    (Claim::Row(53), RECORDS),
    (Claim::Row(54), RECORDS),
    (Claim::Row(55), RECORDS),
    (Claim::Row(56), RECORDS),
    (Claim::Row(57), RECORDS),
    (Claim::Row(58), RECORDS),
    (Claim::Row(59), RECORDS),
    (Claim::Defect(9), WRAPPED),
    (Claim::Defect(16), RECORDS),
    (Claim::Defect(18), "only stores in a database have a caller's transaction; they test it themselves"),
];

const WRAPPED: &str = "wrapped functions are tested in `macros/tests`, on stores in memory and in files";
const RECORDS: &str = "locks on records are tested in `macros/tests`, on stores in memory and in files";

/// One line of [`ROWS`] or [`DEFECTS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// A behaviour.
    Row(u8),
    /// A defect.
    Defect(u8),
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::fmt::Write;

    use super::*;
    use crate::cases;

    #[test]
    fn every_behaviour_and_every_defect_is_covered_or_its_absence_explained() {
        let covered = |claim: Claim| {
            cases().any(|case| match claim {
                Claim::Row(row) => case.rows().contains(&row),
                Claim::Defect(defect) => case.defects().contains(&defect),
            })
        };
        let rows = ROWS.iter().map(|(row, _)| Claim::Row(*row));
        for claim in rows.chain(DEFECTS.iter().map(|(defect, _)| Claim::Defect(*defect))) {
            let elsewhere = ELSEWHERE.iter().any(|(other, _)| *other == claim);
            assert!(
                covered(claim) != elsewhere,
                "{claim:?}: covered {}, elsewhere {elsewhere}",
                covered(claim)
            );
        }
    }

    #[test]
    fn cases_claim_what_there_is_to_claim() {
        let (rows, defects): (HashSet<_>, HashSet<_>) =
            (ROWS.iter().map(|(row, _)| row).collect(), DEFECTS.iter().map(|(defect, _)| defect).collect());
        for case in cases() {
            assert!(case.rows().iter().all(|row| rows.contains(row)), "{case:?}");
            assert!(case.defects().iter().all(|defect| defects.contains(defect)), "{case:?}");
        }
    }

    #[test]
    fn case_names_are_unique_and_plenty() {
        let names: HashSet<_> = cases().map(|case| case.name()).collect();
        assert_eq!(names.len(), cases().count());
        assert!(names.len() >= 190, "{}", names.len());
    }

    #[test]
    fn the_table_of_cases_is_up_to_date() {
        let mut table = String::from(
            "# Cases\n\nWritten by `CONFORMANCE_BLESS=1 cargo test -p tenure-conformance`; behaviours (B) and \
             defects (D) by the numbers in `src/claims.rs`. `MUTANTS.md` has all the mistakes.\n\n\
             | case | covers | fails on a store with one of these mistakes |\n|---|---|---|\n",
        );
        for case in cases() {
            let rows = case.rows().iter().map(|row| format!("B{row}"));
            let claims: Vec<_> =
                rows.chain(case.defects().iter().map(|defect| format!("D{defect}"))).collect();
            let faults: Vec<_> = case.broken_by().iter().map(|fault| fault.sentence()).collect();
            let _ = writeln!(table, "| `{}` | {} | {} |", case.name(), claims.join(" "), faults.join(" "));
        }
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/CASES.md");
        if std::env::var_os("CONFORMANCE_BLESS").is_some() {
            std::fs::write(file, &table).unwrap();
        }
        assert!(std::fs::read_to_string(file).unwrap() == table, "CASES.md is out of date");
    }
}
