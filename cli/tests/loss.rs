//! A command never outlives its lock.

#![allow(clippy::unwrap_used, reason = "what the tests share may fail like a test")]

mod support;

use std::fs::{self, File};
use std::io::Read;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use nix::sys::signal::Signal;
use support::{Place, Running, eventually, runs, text};

/// Beats with the time until it is killed, whatever it is told, and notes that it was told.
const BEATS: &str = "trap 'echo told >> told' TERM; echo $$ > up; while :; do date +%s%N >> beat; done";

/// Keeps the store busy, so that it answers nobody, until it is dropped.
fn stall(place: &Place, name: &str) -> File {
    let file =
        File::options().read(true).write(true).open(place.path(&format!("locks/lock={name}.lock"))).unwrap();
    let record = libc::flock {
        l_type: libc::F_WRLCK.try_into().unwrap(),
        l_whence: libc::SEEK_SET.try_into().unwrap(),
        l_start: 0,
        l_len: 1,
        l_pid: 0,
    };
    eventually("the record is ours", || fcntl(&file, FcntlArg::F_OFD_SETLK(&record)).is_ok());
    file
}

/// When the lease ends by the wall clock if nothing renews it.
fn end_of_lease(place: &Place, name: &str) -> SystemTime {
    let status: serde_json::Value =
        serde_json::from_slice(&place.run(&["status", "--json", name]).stdout).unwrap();
    SystemTime::now() + Duration::from_secs_f64(status["remaining_seconds"].as_f64().unwrap())
}

fn complaint(running: &mut Running) -> String {
    let mut told = String::new();
    running.0.stderr.take().unwrap().read_to_string(&mut told).unwrap();
    told
}

#[test]
fn a_lease_that_cannot_be_renewed_ends_the_whole_group_in_time() {
    let place = Place::new();
    let script = format!("sh -c 'trap \"\" TERM; while :; do date +%s%N >> other; done' & {BEATS}");
    let mut running = place.start(&["exec", "--ttl", "1500ms", "job", "--", "sh", "-c", &script]);
    let stalled = stall(&place, "job");
    let end = end_of_lease(&place, "job");
    assert_eq!(running.code(), 76);
    drop(stalled);
    assert_eq!(place.read("told"), "told\n", "it is told before it is killed");
    for beat in ["beat", "other"] {
        let last = place.read(beat).lines().rfind(|line| line.len() == 19).unwrap().parse().unwrap();
        let left = end.duration_since(UNIX_EPOCH + Duration::from_nanos(last)).expect("it went on too long");
        assert!(left < Duration::from_millis(700), "{beat} was killed too early: {left:?}");
    }
    let complaint = complaint(&mut running);
    assert!(complaint.contains("did not renew"), "{complaint}");
}

#[test]
fn what_stays_when_the_command_has_ended_is_killed_too() {
    let place = Place::new();
    let script = "sh -c 'trap \"\" TERM; echo $$ > stays; while :; do sleep 0.01; done' &
        trap 'exit 0' TERM; until [ -e stays ]; do sleep 0.01; done; echo up > up; while :; do sleep 0.01; done";
    let mut running = place.start(&["exec", "--ttl", "1500ms", "job", "--", "sh", "-c", script]);
    let stays = place.pid("stays");
    let _stalled = stall(&place, "job");
    assert_eq!(running.code(), 76);
    assert!(!runs(stays));
}

#[test]
fn a_command_that_ends_when_told_is_not_killed() {
    let place = Place::new();
    let script = "trap 'echo tidied > tidied; exit 3' TERM; echo up > up; while :; do sleep 0.01; done";
    let mut running = place.start(&["exec", "--ttl", "1500ms", "job", "--", "sh", "-c", script]);
    let _stalled = stall(&place, "job");
    assert_eq!(running.code(), 76);
    assert_eq!(place.read("tidied"), "tidied\n");
}

#[test]
fn a_broken_lock_ends_its_command_and_opens_after_it() {
    for ttl in [&["--ttl", "60s"][..], &[]] {
        let place = Place::new();
        let mut tenure = place.tenure(&[&["exec"], ttl, &["job", "--", "sh", "-c"]].concat());
        let script = "trap 'echo told > told; until [ -e go ]; do sleep 0.01; done; exit 0' TERM
            echo $$ > up; while :; do sleep 0.01; done";
        let mut running =
            place.start_command(tenure.arg(script).env("TENURE_RECHECK", "50ms").env("TENURE_LEASE", "1s"));
        let command = place.pid("up");
        assert_eq!(place.status(&["break", "job", "--reason", "test"]), Some(0));
        if ttl.is_empty() {
            eventually("it is told", || place.path("told").exists());
            assert!(!place.is_free("job"), "it has not let go yet");
            place.write("go");
            assert_eq!(running.code(), 76);
            assert!(complaint(&mut running).contains("broken by an operator"));
        } else {
            // It would learn of it after a third of its lease.
            running.signal(Signal::SIGKILL);
            running.end();
        }
        eventually("the command is gone", || !runs(command));
        assert!(place.is_free("job"));
    }
}

#[test]
fn a_removed_lock_file_kills_the_command_at_once() {
    let place = Place::new();
    let mut tenure = place.tenure(&["exec", "job", "--", "sh", "-c", BEATS]);
    let mut running = place.start_command(tenure.env("TENURE_RECHECK", "50ms"));
    fs::remove_file(place.path("locks/lock=job.lock")).unwrap();
    assert_eq!(running.code(), 76);
    assert!(!place.path("told").exists(), "somebody else may hold it: there is no time to lose");
}

#[test]
fn a_tenure_that_was_stopped_beyond_its_lease_kills_the_command_when_it_wakes() {
    let place = Place::new();
    let mut running = place.start(&["exec", "--ttl", "300ms", "job", "--", "sh", "-c", BEATS]);
    let command = place.pid("up");
    running.signal(Signal::SIGSTOP);
    assert_eq!(place.status(&["exec", "job", "true"]), Some(0), "the lease ends by itself");
    running.signal(Signal::SIGCONT);
    assert_eq!(running.code(), 76);
    assert!(!runs(command));
    assert!(!place.path("told").exists());
}

#[test]
fn a_lock_lost_at_the_last_moment_shows_in_the_status() {
    let place = Place::new();
    for option in [&[][..], &["--close"], &["--ttl", "60s"]] {
        let words =
            [&["exec"], option, &["job", "--", "sh", "-c", "\"$TENURE\" break --now job --reason test"]]
                .concat();
        let output = place.run(&words);
        assert_eq!(output.status.code(), Some(76), "{option:?}");
        assert!(text(&output.stderr).contains("lost"), "{output:?}");
    }
}
