//! What the list of claims sends here is tested here.

use std::collections::BTreeSet;
use std::fs;

use tenure_conformance::claims::{Claim, ELSEWHERE};

/// The claims that stand above a test, as `/// B41, D16`.
#[expect(clippy::unwrap_used, reason = "a part of the test")]
fn tested() -> BTreeSet<String> {
    let mut tested = BTreeSet::new();
    for file in fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests")).unwrap() {
        let path = file.unwrap().path();
        if path.is_dir() {
            continue;
        }
        let source = fs::read_to_string(path).unwrap();
        let lines: Vec<_> = source.lines().map(str::trim).collect();
        for pair in lines.windows(2).filter(|pair| pair[1] == "#[test]") {
            let claims = pair[0].strip_prefix("/// ").into_iter().flat_map(|claims| claims.split(", "));
            tested.extend(claims.map(str::to_owned));
        }
    }
    tested
}

#[test]
fn every_claim_that_is_sent_here_stands_above_a_test() {
    let sent = ELSEWHERE.iter().filter(|(_, why)| why.contains("`macros/tests`"));
    let sent: BTreeSet<_> = sent
        .map(|(claim, _)| match claim {
            Claim::Row(row) => format!("B{row}"),
            Claim::Defect(defect) => format!("D{defect}"),
        })
        .collect();
    let tested = tested();
    assert!(sent.is_subset(&tested), "not tested: {:?}", sent.difference(&tested).collect::<Vec<_>>());
    // Names of unescaped parts are a matter of all names, and have cases.
    let more: Vec<_> = tested.difference(&sent).collect();
    assert_eq!(more, ["D20"]);
}
