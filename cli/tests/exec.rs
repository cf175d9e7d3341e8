//! Running a command under a lock.

mod support;

use std::process::Stdio;
use std::time::{Duration, Instant};

use support::{Place, eventually, text};

/// Is up, then waits for the file `go`.
const WAITS: &str = "echo up > up; until [ -e go ]; do sleep 0.01; done; rm go";

#[test]
fn two_shells_exclude_each_other() {
    let place = Place::new();
    let mut first = place.start(&["exec", "job", "--", "sh", "-c", WAITS]);
    assert_eq!(place.status(&["exec", "-n", "job", "true"]), Some(75));
    assert_eq!(place.status(&["exec", "-n", "other", "true"]), Some(0), "names are independent");
    let mut second = place.tenure(&["exec", "job", "--", "sh", "-c", "test ! -e go"]).spawn().unwrap();
    assert!(second.try_wait().unwrap().is_none());
    place.write("go");
    assert_eq!(first.code(), 0);
    assert_eq!(second.wait().unwrap().code(), Some(0));
}

#[test]
fn a_counter_is_never_counted_by_two_at_once() {
    let place = Place::new();
    let add = "n=$(cat n 2>/dev/null || echo 0); sleep 0.002; echo $((n + 1)) > n";
    let shells: Vec<_> = (0..6)
        .map(|_| {
            let adds = format!("for _ in 1 2 3 4 5; do \"$TENURE\" exec n -c '{add}'; done");
            place.program("sh").args(["-c", &adds]).spawn().unwrap()
        })
        .collect();
    for mut shell in shells {
        assert!(shell.wait().unwrap().success());
    }
    assert_eq!(place.read("n"), "30\n");
}

#[test]
fn the_status_is_that_of_the_command() {
    let place = Place::new();
    for (command, status) in [("exit 0", 0), ("exit 7", 7), ("exit 255", 255), ("kill -KILL $$", 137)] {
        assert_eq!(place.status(&["exec", "job", "--", "sh", "-c", command]), Some(status), "{command}");
    }
}

#[test]
fn a_command_that_cannot_be_run_is_named() {
    let place = Place::new();
    place.write("plain");
    for (command, status) in [("no-such-command", 127), ("./plain", 126), ("./no/such", 127)] {
        let output = place.run(&["exec", "job", "--", command]);
        assert_eq!(output.status.code(), Some(status), "{command}");
        assert!(text(&output.stderr).starts_with(&format!("tenure: {command}: ")), "{output:?}");
    }
    assert!(place.is_free("job"));
}

#[test]
fn a_busy_lock_has_the_status_that_was_asked_for() {
    let place = Place::new();
    let _first = place.start(&["exec", "job", "--", "sh", "-c", WAITS]);
    for (words, status) in [
        (&["-n"][..], 75),
        (&["-w", "0"], 75),
        (&["--wait", "30ms"], 75),
        (&["--no-wait", "-E", "9"], 9),
        (&["-w", "30ms", "-E", "0"], 0),
        (&["-n", "--conflict-exit-code", "1"], 1),
    ] {
        let output = place.run(&[&["exec"], words, &["job", "touch", "ran"]].concat());
        assert_eq!(output.status.code(), Some(status), "{words:?}");
        assert!(text(&output.stderr).starts_with("tenure: \"job\" is still held"), "{output:?}");
    }
    assert!(!place.path("ran").exists());
    assert_eq!(place.run(&["exec", "-nq", "job", "true"]).stderr, b"");
}

#[test]
fn waiting_ends_when_the_time_is_over() {
    let place = Place::new();
    let _first = place.start(&["exec", "job", "--", "sh", "-c", WAITS]);
    let began = Instant::now();
    assert_eq!(place.status(&["exec", "-w", "300ms", "job", "true"]), Some(75));
    let took = began.elapsed();
    assert!((Duration::from_millis(300)..Duration::from_secs(3)).contains(&took), "{took:?}");
}

#[test]
fn the_command_alone_gets_name_and_growing_fence() {
    let place = Place::new();
    let words = ["exec", "a b", "--", "sh", "-c", "echo $TENURE_FENCE; echo \"$TENURE_LOCK\""];
    let outputs: Vec<_> = (0..2).map(|_| text(&place.run(&words).stdout)).collect();
    let fences: Vec<u64> =
        outputs.iter().map(|output| output.lines().next().unwrap().parse().unwrap()).collect();
    assert!(fences[0] < fences[1], "{fences:?}");
    assert_eq!(outputs[0].lines().nth(1), Some("a b"));
}

#[test]
fn input_output_and_arguments_pass_unchanged() {
    let place = Place::new();
    let cat =
        "printf 'in\\n' | \"$TENURE\" exec job cat; \"$TENURE\" exec job printf '%s.' -n -- 'a b' '' --wait";
    let output = place.program("sh").args(["-c", cat]).output().unwrap();
    assert_eq!(text(&output.stdout), "in\n-n.--.a b..--wait.");
    assert_eq!(text(&output.stderr), "");
}

#[test]
fn a_line_is_run_by_the_shell() {
    let place = Place::new();
    assert_eq!(text(&place.run(&["exec", "job", "-c", "echo $((1 + 2))"]).stdout), "3\n");
    let mut other = place.tenure(&["exec", "job", "-c", "text"]);
    assert_eq!(text(&other.env("SHELL", "echo").output().unwrap().stdout), "-c text\n");
}

#[test]
fn at_least_keeps_the_name_after_the_command() {
    let place = Place::new();
    let began = Instant::now();
    assert_eq!(place.status(&["exec", "--at-least", "700ms", "job", "true"]), Some(0));
    assert!(began.elapsed() < Duration::from_millis(600), "it does not wait itself");
    assert_eq!(place.status(&["exec", "-n", "job", "true"]), Some(75));
    assert_eq!(place.status(&["exec", "job", "true"]), Some(0));
    assert!(began.elapsed() >= Duration::from_millis(700));
}

#[test]
fn a_lease_is_kept_alive_beyond_its_length() {
    let place = Place::new();
    let mut running = place.start(&["exec", "--ttl", "900ms", "job", "--", "sh", "-c", WAITS]);
    let began = Instant::now();
    eventually("two leases have passed", || {
        assert!(!place.is_free("job"));
        began.elapsed() > Duration::from_millis(2000)
    });
    place.write("go");
    assert_eq!(running.code(), 0);
    assert!(place.is_free("job"));
}

#[test]
fn a_reader_that_has_gone_ends_the_command_as_without_tenure() {
    let place = Place::new();
    let mut running = place.tenure(&["exec", "job", "yes"]);
    let mut child = running.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(128 + 13));
}
