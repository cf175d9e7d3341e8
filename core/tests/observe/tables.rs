//! The tables of the documentation are what is told: every name, and no other.

use std::collections::{BTreeMap, BTreeSet};

use tenure_core::testing::Scripted;

use super::scenes::{self, seen};
use super::watch::{Meters, Told, watched};
use super::ways::WAYS;

const DOCUMENTATION: &str = include_str!("../../src/observe/mod.rs");

type Words = BTreeSet<&'static str>;

/// The rows of the table that begins with this heading, cell by cell.
fn table(heading: &str) -> Vec<Vec<&'static str>> {
    let start = format!("//! | {heading} |");
    let lines = DOCUMENTATION.lines().skip_while(|line| !line.starts_with(&start)).skip(2);
    let rows = lines.take_while(|line| line.starts_with("//! |"));
    let rows: Vec<_> = rows.map(|row| row.split('|').skip(1).map(str::trim).collect()).collect();
    assert!(!rows.is_empty(), "no table of {heading}");
    rows
}

/// What is in backquotes.
fn words(cell: &'static str) -> Words {
    cell.split('`').skip(1).step_by(2).collect()
}

fn word(cell: &'static str) -> &'static str {
    words(cell).first().expect("a word in backquotes")
}

fn everything() -> (Vec<Told>, Vec<Told>, Meters) {
    let ((), spans, meters) = watched(|_, _| {
        for way in WAYS {
            scenes::ALL.iter().for_each(|scene| scene(&Scripted::new(), way));
        }
    });
    (spans.events(), spans.spans(), meters)
}

#[test]
fn the_tables_of_events_spans_and_fields_are_what_is_told() {
    let (events, spans, _) = everything();
    let mut fields = Words::new();
    for (heading, told) in [("event", &events), ("span", &spans)] {
        let mut found = BTreeMap::new();
        for told in told {
            fields.extend(&told.names);
            let row = (told.level.to_string().to_lowercase(), told.names.iter().copied().collect::<Words>());
            let known = found.entry(told.what.as_str()).or_insert_with(|| row.clone());
            assert_eq!(*known, row, "{told:?}");
        }
        let rows = table(heading).into_iter().map(|row| (word(row[0]), (row[1].to_owned(), words(row[2]))));
        assert_eq!(found, rows.collect());
    }
    assert_eq!(fields, table("field").into_iter().flat_map(|row| words(row[0])).collect());
}

#[test]
fn locks_that_block_and_locks_that_are_awaited_tell_the_same() {
    for way in WAYS {
        let told = scenes::ALL.iter().flat_map(|scene| seen(*scene, way).0);
        let told: BTreeSet<_> = told.map(|told| told.what).collect();
        assert_eq!(told.len(), table("event").len(), "{way:?}: {told:?}");
    }
}

#[test]
fn the_tables_of_metrics_and_labels_are_what_is_counted() {
    let (_, _, meters) = everything();
    let mut found = BTreeMap::new();
    let mut values: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for meter in &meters.0 {
        assert!(meter.is_described, "{meter:?}");
        let labels: BTreeSet<_> = meter.labels.keys().map(String::as_str).collect();
        found.insert(meter.name.as_str(), (meter.kind, meter.unit, labels));
        for (label, value) in meter.labels.iter().filter(|(label, _)| *label != "store") {
            let of = match meter.name.as_str() {
                "tenure_renewals_total" => "renewal",
                "tenure_releases_total" => "release",
                "tenure_losses_total" => "loss",
                _ => "acquisition",
            };
            values.entry(format!("`{label}` of {of}")).or_default().insert(value.as_str());
        }
    }
    let rows = table("metric").into_iter().map(|row| (word(row[0]), (row[1], Some(row[2]), words(row[3]))));
    assert_eq!(found, rows.collect());
    let rows = table("label").into_iter().filter(|row| row[0] != "`store`");
    assert_eq!(
        values,
        rows.map(|row| (row[0].replace(" a ", " ").replace(" an ", " "), words(row[1]))).collect()
    );
}
