//! What a command leaves behind, and what becomes of it when `tenure exec` is killed.

mod support;

use nix::sys::signal::{Signal, kill};
use support::{Place, eventually, runs};

/// Leaves a process behind that ends when `go` is there, or when nobody looks after it any more.
const LEAVES: &str = "(i=0; until [ -e go ] || [ $i -gt 3000 ] || ! [ -e heir ] && [ $i -gt 50 ]; do \
                      i=$((i + 1)); sleep 0.01; done) >/dev/null 2>&1 & echo $! > heir";
const SLEEPS: &str = "echo $$ > up; exec sleep 1000";

#[test]
fn a_killed_exec_takes_its_command_with_it_and_frees_the_lock() {
    for ttl in [&[][..], &["--ttl", "60s"], &["--close"]] {
        let place = Place::new();
        let words = [&["exec"], ttl, &["job", "--", "sh", "-c", SLEEPS]].concat();
        let mut running = place.start(&words);
        let command = place.pid("up");
        running.signal(Signal::SIGKILL);
        running.end();
        eventually("the command is killed", || !runs(command));
        assert_eq!(place.status(&["exec", "-w", "5s", "job", "true"]), Some(0), "{ttl:?}");
    }
}

#[test]
fn a_grandchild_that_lives_on_keeps_the_lock() {
    let place = Place::new();
    assert_eq!(place.status(&["exec", "job", "--", "sh", "-c", LEAVES]), Some(0));
    let heir = place.pid("heir");
    assert!(runs(heir) && !place.is_free("job"));
    let mut waiter = place.tenure(&["exec", "job", "true"]).spawn().unwrap();
    place.write("go");
    assert!(waiter.wait().unwrap().success(), "a waiter is woken by the end of the last heir");
    assert!(!runs(heir));
}

#[test]
fn a_grandchild_keeps_the_lock_also_when_exec_is_killed() {
    let place = Place::new();
    let mut running = place.start(&["exec", "job", "--", "sh", "-c", &format!("{LEAVES}; {SLEEPS}")]);
    let (command, heir) = (place.pid("up"), place.pid("heir"));
    running.signal(Signal::SIGKILL);
    running.end();
    eventually("the command is killed", || !runs(command));
    assert!(runs(heir) && !place.is_free("job"));
    kill(heir, Signal::SIGKILL).unwrap();
    assert_eq!(place.status(&["exec", "-w", "5s", "job", "true"]), Some(0));
}

#[test]
fn close_and_leases_end_with_the_command() {
    for option in [&["--close"][..], &["--ttl", "60s"], &["--at-least", "1ms"]] {
        let place = Place::new();
        let words = [&["exec"], option, &["job", "--", "sh", "-c", LEAVES]].concat();
        assert_eq!(place.status(&words), Some(0));
        let heir = place.pid("heir");
        assert_eq!(place.status(&["exec", "-w", "5s", "job", "true"]), Some(0), "{option:?}");
        assert!(runs(heir));
        place.write("go");
        eventually("the heir ends", || !runs(heir));
    }
}

#[test]
fn without_heirs_the_lock_is_free_at_once() {
    let place = Place::new();
    for _ in 0..20 {
        assert_eq!(place.status(&["exec", "-n", "job", "true"]), Some(0));
    }
}

#[test]
fn a_killed_exec_frees_the_lock_whatever_the_environment_says_of_dropped_locks() {
    let place = Place::new();
    let mut tenure = place.tenure(&["exec", "--ttl", "60s", "job", "--", "sh", "-c", SLEEPS]);
    let mut running = place.start_command(tenure.env("TENURE_RELEASE_ON_DROP", "false"));
    running.signal(Signal::SIGKILL);
    running.end();
    assert_eq!(place.status(&["exec", "-w", "5s", "job", "true"]), Some(0));
}

#[test]
fn a_command_whose_exec_was_killed_before_it_began_never_begins() {
    let place = Place::new();
    assert_eq!(place.status(&["__exec", "background", "", "1", "touch", "ran"]), Some(71));
    assert!(!place.path("ran").exists());
}
