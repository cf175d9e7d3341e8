//! Arguments, settings and stores.

#![allow(clippy::unwrap_used, reason = "what the tests share may fail like a test")]

mod support;

use std::fs;

use support::{Place, text};

/// The status and the complaint.
fn refused(place: &Place, words: &[&str]) -> (i32, String) {
    let output = place.run(words);
    assert_eq!(text(&output.stdout), "", "{words:?}");
    let complaint = text(&output.stderr);
    assert!(complaint.starts_with("tenure: ") && complaint.matches("tenure: ").count() == 1, "{complaint}");
    (output.status.code().unwrap(), complaint)
}

#[test]
fn help_tells_statuses_variables_and_examples() {
    let place = Place::new();
    let output = place.run(&["exec", "--help"]);
    assert_eq!(output.status.code(), Some(0));
    let help = text(&output.stdout);
    for expected in
        ["TENURE_FENCE", "TENURE_LOCK", "TENURE_STORE", "128 + N", "  75 ", "  76 ", "  127 ", "Examples:"]
    {
        assert!(help.contains(expected), "{expected}");
    }
    assert!(help.lines().all(|line| line.chars().count() <= 100), "{help}");
    assert!(!help.contains("__exec"));
    for words in [&["--help"][..], &["-h"], &["status", "--help"], &["break", "-h"], &["--version"]] {
        assert_eq!(place.status(words), Some(0), "{words:?}");
    }
}

#[test]
fn wrong_arguments_are_refused_with_a_remedy() {
    let place = Place::new();
    for (words, expected) in [
        (&["exec"][..], "not provided"),
        (&["exec", "job"], "<CMD>"),
        (&["exec", "-w", "soon", "job", "true"], "10s"),
        (&["exec", "-w", "10", "job", "true"], "unit"),
        (&["exec", "-n", "-w", "1s", "job", "true"], "cannot be used with"),
        (&["exec", "-E", "256", "job", "true"], "0..=255"),
        (&["exec", "--tll", "1s", "job", "true"], "--ttl"),
        (&["exec", "", "true"], "name"),
        (&["break", "job"], "--reason"),
        (&["run", "job"], "run"),
    ] {
        let (status, complaint) = refused(&place, words);
        assert!(status == 64 && complaint.contains(expected), "{words:?}: {status} {complaint}");
    }
}

#[test]
fn settings_that_cannot_work_are_refused() {
    let place = Place::new();
    for (words, expected) in [
        (&["exec", "--ttl", "2h", "job", "true"][..], "max_ttl"),
        (&["exec", "--ttl", "1ms", "job", "true"], "10ms"),
        (&["--store", "ftp://h", "status"], "it knows file:"),
        (&["--store", "mem:", "exec", "job", "true"], "memory"),
        (&["--store", "/var/lib/locks", "status"], "put \"file:\" before a path"),
        (&["status", "--store", "file://host/locks"], "another host"),
    ] {
        let (status, complaint) = refused(&place, words);
        assert!(status == 78 && complaint.contains(expected), "{words:?}: {status} {complaint}");
    }
    let output = place.tenure(&["status"]).env("TENURE_LEASE", "soon").output().unwrap();
    assert_eq!(output.status.code(), Some(78));
    assert!(text(&output.stderr).contains("TENURE_LEASE"));
}

#[test]
fn secrets_in_a_url_are_never_shown() {
    let place = Place::new();
    for url in
        ["redis://me:s3cret@127.0.0.1:1/0", "s3cret", "/s3cret", "mem:s3cret", "file://s3cret/x", "x:s3cret"]
    {
        for words in
            [&["--store", url, "status"][..], &["exec", "--store", url, "job"], &["--store", url, "--help"]]
        {
            let output = place.tenure(words).env("TENURE_STORE", url).output().unwrap();
            let shown = text(&output.stderr) + &text(&output.stdout);
            assert!(!shown.contains("s3cret"), "{words:?}: {shown}");
        }
    }
}

#[test]
fn without_set_up_locks_lie_in_the_users_state_folder() {
    let place = Place::new();
    for (variable, folder) in
        [("HOME", "home/.local/state/tenure/locks"), ("XDG_STATE_HOME", "state/tenure/locks")]
    {
        let mut tenure = place.tenure(&["exec", "job", "true"]);
        tenure.env_remove("TENURE_STORE").env(variable, place.path(folder.split_once('/').unwrap().0));
        assert!(tenure.status().unwrap().success(), "{variable}");
        assert!(place.path(folder).join("lock=job.lock").exists(), "{variable}");
    }
}

#[test]
fn the_option_wins_over_the_variable() {
    let place = Place::new();
    assert_eq!(place.status(&["--store", "file:other%20one", "exec", "job", "true"]), Some(0));
    assert!(place.path("other one/lock=job.lock").exists() && !place.path("locks").exists());
}

#[test]
fn a_store_that_cannot_be_made_is_no_busy_lock() {
    let place = Place::new();
    place.write("file");
    let (status, complaint) =
        refused(&place, &["--store", "file:file/below", "exec", "-n", "job", "touch", "ran"]);
    assert!(status == 69 && complaint.contains("cannot be made"), "{status} {complaint}");
    let (status, _) = refused(&place, &["--store", "file:file", "exec", "-n", "job", "touch", "ran"]);
    assert_eq!(status, 78);
    assert!(!place.path("ran").exists());
}

#[test]
fn a_damaged_record_is_no_busy_lock() {
    let place = Place::new();
    assert_eq!(place.status(&["exec", "job", "true"]), Some(0));
    let file = place.path("locks/lock=job.lock");
    let mut bytes = fs::read(&file).unwrap();
    bytes[8..64].fill(0xff);
    fs::write(&file, bytes).unwrap();
    let (status, complaint) = refused(&place, &["exec", "-n", "job", "touch", "ran"]);
    assert!(status == 69 && complaint.contains("not whole"), "{status} {complaint}");
}
