//! Signals to `tenure exec`.

#![allow(clippy::unwrap_used, reason = "what the tests share may fail like a test")]

mod support;

use nix::sys::signal::Signal;
use support::{Place, eventually, text};

#[test]
fn signals_are_passed_on() {
    let place = Place::new();
    let script = "for s in HUP INT QUIT TERM USR1 USR2 WINCH CONT; do trap \"echo $s >> got\" $s; done
        echo up > up; until [ -e go ]; do sleep 0.01; done; exit 5";
    let mut running = place.start(&["exec", "job", "--", "sh", "-c", script]);
    for signal in ["HUP", "INT", "QUIT", "TERM", "USR1", "USR2", "WINCH", "CONT"] {
        running.signal(format!("SIG{signal}").parse().unwrap());
        eventually(signal, || place.read("got").lines().any(|line| line == signal));
    }
    place.write("go");
    assert_eq!(running.code(), 5);
}

#[test]
fn the_whole_group_of_the_command_hears_a_signal() {
    let place = Place::new();
    let script = "trap 'echo parent >> got' USR2
        sh -c 'trap \"echo child >> got\" USR2; echo up > up; until [ -e go ]; do sleep 0.01; done' &
        until [ -e go ]; do sleep 0.01; done";
    let mut running = place.start(&["exec", "job", "--", "sh", "-c", script]);
    running.signal(Signal::SIGUSR2);
    eventually("both have heard", || {
        place.read("got").contains("child") && place.read("got").contains("parent")
    });
    place.write("go");
    assert_eq!(running.code(), 0);
}

#[test]
fn a_command_ended_by_a_passed_signal_shows_in_the_status() {
    let place = Place::new();
    let mut running = place.start(&["exec", "job", "--", "sh", "-c", "echo up > up; exec sleep 1000"]);
    running.signal(Signal::SIGTERM);
    assert_eq!(running.code(), 128 + 15);
    assert!(place.is_free("job"));
}

#[test]
fn one_who_waits_is_ended_by_a_signal() {
    let place = Place::new();
    let _holder = place.start(&["exec", "job", "--", "sh", "-c", "echo up > up; exec sleep 1000"]);
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        let mut waiter = support::Running(place.tenure(&["exec", "job", "touch", "ran"]).spawn().unwrap());
        eventually("it waits", || is_waiting(&waiter));
        waiter.signal(signal);
        assert_eq!(waiter.code(), 1000 + signal as i32);
    }
    assert!(!place.path("ran").exists());
}

fn is_waiting(waiter: &support::Running) -> bool {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", waiter.pid())).unwrap();
    tasks.flatten().any(|task| {
        std::fs::read_to_string(task.path().join("comm")).is_ok_and(|name| name.trim() == "tenure-acquire")
    })
}

#[test]
fn an_ignored_signal_stays_ignored_and_none_is_blocked() {
    let place = Place::new();
    let line = "trap '' HUP; exec \"$TENURE\" exec job grep -E 'SigIgn|SigBlk' /proc/self/status";
    let output = text(&place.program("sh").args(["-c", line]).output().unwrap().stdout);
    // Without those beyond 31, which are the system's own business.
    let of = |field: &str| {
        let digits = output.lines().find_map(|line| line.strip_prefix(field)).unwrap().trim();
        u64::from_str_radix(digits, 16).unwrap() & 0x7fff_ffff
    };
    assert_eq!((of("SigBlk:"), of("SigIgn:")), (0, 1), "{output}");
}

#[test]
fn an_ignored_signal_does_not_end_one_who_waits() {
    let place = Place::new();
    let _holder = place.start(&["exec", "job", "--", "sh", "-c", "echo up > up; exec sleep 1000"]);
    let line = "trap '' HUP; exec \"$TENURE\" exec job true";
    let mut waiter = support::Running(place.program("sh").args(["-c", line]).spawn().unwrap());
    eventually("it waits", || is_waiting(&waiter));
    waiter.signal(Signal::SIGHUP);
    waiter.signal(Signal::SIGTERM);
    assert_eq!(waiter.code(), 1000 + Signal::SIGTERM as i32);
}
