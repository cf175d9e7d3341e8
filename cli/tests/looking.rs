//! `tenure status` and `tenure break`.

#![allow(clippy::unwrap_used, reason = "what the tests share may fail like a test")]

mod support;

use support::{Place, Running, text};

const WAITS: &str = "echo up > up; until [ -e go ]; do sleep 0.01; done";

fn hold(place: &Place, words: &[&str]) -> Running {
    place.start(&[&["exec"], words, &["--", "sh", "-c", WAITS]].concat())
}

#[test]
fn a_free_lock_is_told_by_the_status() {
    let place = Place::new();
    let output = place.run(&["status", "job"]);
    assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(1), "job is free\n"));
    let json = text(&place.run(&["status", "--json", "job"]).stdout);
    assert_eq!(json, "{\"held\":false,\"name\":\"job\"}\n");
    assert_eq!(place.status(&["status"]), Some(0));
}

#[test]
fn a_held_lock_is_shown_with_its_holder() {
    let place = Place::new();
    let running = hold(&place, &["job"]);
    let output = place.run(&["status", "job"]);
    assert_eq!(output.status.code(), Some(0));
    let shown = text(&output.stdout);
    let (head, row) = shown.trim_end().split_once('\n').unwrap();
    assert_eq!(head.split_whitespace().collect::<Vec<_>>(), ["NAME", "HOLDER", "SINCE", "LEFT", "FENCE"]);
    let cells: Vec<_> = row.split_whitespace().collect();
    assert_eq!((cells[0], cells[3], cells.len()), ("job", "-", 5));
    assert!(cells[1].ends_with(&running.pid().to_string()), "{row}");
}

#[test]
fn all_held_locks_are_listed_as_a_table_and_as_json() {
    let place = Place::new();
    let _one = hold(&place, &["--label", "night shift", "a/one"]);
    let _two = hold(&place, &["--ttl", "50s", "b"]);
    assert_eq!(place.status(&["exec", "free", "true"]), Some(0));
    let table = text(&place.run(&["status"]).stdout);
    assert_eq!(table.lines().count(), 3, "{table}");
    assert!(table.contains("night shift"), "{table}");
    let lines = text(&place.run(&["status", "--json"]).stdout);
    let objects: Vec<serde_json::Value> =
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(objects[0]["name"], "a/one");
    assert_eq!(
        (&objects[0]["holder"], objects[0]["remaining_seconds"].as_f64()),
        (&"night shift".into(), None)
    );
    assert!((30.0..=50.0).contains(&objects[1]["remaining_seconds"].as_f64().unwrap()), "{lines}");
    assert_eq!(text(&place.run(&["status", "--prefix", "a/"]).stdout).lines().count(), 2);
}

#[test]
fn names_and_labels_cannot_command_the_terminal() {
    let place = Place::new();
    let _running = hold(&place, &["--label", "l\u{1b}]0;x\u{7}\n", "n\u{1b}[2J\u{9b}m\r\nx"]);
    let shown = text(&place.run(&["status"]).stdout);
    assert!(!shown.contains(|part: char| part.is_control() && part != '\n'), "{shown:?}");
    assert_eq!(shown.lines().count(), 2, "{shown:?}");
    let busy = text(&place.run(&["exec", "-n", "n\u{1b}[2J\u{9b}m\r\nx", "true"]).stderr);
    assert!(!busy.trim_end().contains(char::is_control), "{busy:?}");
}

#[test]
fn breaking_tells_whom_and_what_is_to_be_waited_for() {
    let place = Place::new();
    let running = hold(&place, &["--ttl", "50s", "job"]);
    let output = place.run(&["break", "job", "--reason", "gone\nfishing"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let told = text(&output.stdout);
    assert!(told.contains(&running.pid().to_string()) && told.contains("at the latest"), "{told}");
    assert!(text(&place.run(&["status", "job"]).stdout).contains("broken: gone\\nfishing"));
    assert!(!place.is_free("job"));
    let told = text(&place.run(&["break", "--now", "job", "--reason", "cannot wait"]).stdout);
    assert!(told.contains("may still be at work"), "{told}");
    assert!(place.is_free("job"));
}

#[test]
fn breaking_what_is_free_says_so() {
    let place = Place::new();
    let output = place.run(&["break", "job", "--reason", "x"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stderr), "tenure: \"job\" is free; there is nothing to break\n");
}

#[test]
fn breaking_a_name_that_is_only_kept_opens_it() {
    let place = Place::new();
    assert_eq!(place.status(&["exec", "--at-least", "50s", "job", "true"]), Some(0));
    let output = place.run(&["break", "job", "--reason", "needed"]);
    assert!(text(&output.stdout).trim_end().ends_with("it is open now"), "{output:?}");
    assert!(place.is_free("job"));
}
