//! Commands at a terminal, which `script(1)` plays.

#![allow(clippy::unwrap_used, reason = "what the tests share may fail like a test")]

mod support;

use std::io::Write;
use std::process::Stdio;

use support::{Place, Running, eventually, state_of};

const CTRL_C: &[u8] = b"\x03";
const CTRL_Z: &[u8] = b"\x1a";

/// Runs a line of the shell at a terminal of its own.
fn at_terminal(place: &Place, line: &str) -> Running {
    let mut script = place.program("script");
    script.args(["-qec", line, "/dev/null"]).env("SHELL", "/bin/sh");
    let script = script.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    Running(script.spawn().unwrap())
}

fn press(terminal: &mut Running, keys: &[u8]) {
    terminal.0.stdin.as_mut().unwrap().write_all(keys).unwrap();
}

fn is_up(place: &Place) {
    eventually("the command is up", || place.read("up").ends_with('\n'));
}

#[test]
fn the_command_reads_from_the_terminal_and_gives_it_back() {
    let place = Place::new();
    let line = "\"$TENURE\" exec job -c 'echo up > up; head -n 1 > one'; head -n 1 > two";
    let mut terminal = at_terminal(&place, line);
    is_up(&place);
    press(&mut terminal, b"first\n");
    eventually("it is read", || place.read("one") == "first\n");
    press(&mut terminal, b"second\n");
    assert_eq!(terminal.code(), 0);
    assert_eq!(place.read("two"), "second\n");
}

#[test]
fn a_command_in_a_pipeline_gets_the_terminal_when_it_reads() {
    let place = Place::new();
    let mut terminal = at_terminal(&place, "\"$TENURE\" exec job -c 'echo up > up; head -n 1' | cat > got");
    is_up(&place);
    press(&mut terminal, b"typed\n");
    assert_eq!(terminal.code(), 0);
    assert_eq!(place.read("got"), "typed\n");
}

#[test]
fn the_command_is_in_the_foreground_from_the_start() {
    let place = Place::new();
    // Its process group, and the one in the foreground, as `proc(5)` counts them.
    let mut terminal =
        at_terminal(&place, "\"$TENURE\" exec job -c 'cut -d\" \" -f 5,8 /proc/self/stat > groups'");
    assert_eq!(terminal.code(), 0);
    let groups = place.read("groups");
    let (own, foreground) = groups.trim().split_once(' ').unwrap();
    assert_eq!(own, foreground);
}

#[test]
fn a_neighbour_in_a_pipeline_may_read_the_terminal() {
    let place = Place::new();
    let line = "\"$TENURE\" exec job -c 'echo up > up; until [ -e go ]; do sleep 0.01; done; echo piped' |
        { until [ -e up ]; do sleep 0.01; done; head -n 1 < /dev/tty; cat; } > got";
    let mut terminal = at_terminal(&place, line);
    is_up(&place);
    press(&mut terminal, b"typed\n");
    eventually("the neighbour reads", || place.read("got") == "typed\n");
    place.write("go");
    assert_eq!(terminal.code(), 0);
    assert_eq!(place.read("got"), "typed\npiped\n");
}

#[test]
fn ctrl_c_is_the_commands() {
    let place = Place::new();
    let script = "trap \"echo got > int; exit 3\" INT; echo up > up; while :; do sleep 0.01; done";
    let mut terminal = at_terminal(&place, &format!("exec \"$TENURE\" exec job -c '{script}'"));
    is_up(&place);
    press(&mut terminal, CTRL_C);
    assert_eq!(terminal.code(), 3);
    assert_eq!(place.read("int"), "got\n");
    assert!(place.is_free("job"));
}

#[test]
fn ctrl_c_that_ends_the_command_ends_the_script_around_it() {
    let place = Place::new();
    let line = "\"$TENURE\" exec job -c 'echo up > up; exec sleep 1000'; echo next > next";
    let mut terminal = at_terminal(&place, line);
    is_up(&place);
    press(&mut terminal, CTRL_C);
    assert_ne!(terminal.code(), 0);
    assert!(!place.path("next").exists());
    assert!(place.is_free("job"));
}

#[test]
fn ctrl_c_ends_one_who_waits() {
    let place = Place::new();
    let _holder = place.start(&["exec", "job", "-c", "echo up > up; exec sleep 1000"]);
    let mut terminal = at_terminal(&place, "echo $$ > pid; exec \"$TENURE\" exec job touch ran");
    let pid = place.pid("pid");
    let tasks = format!("/proc/{pid}/task");
    eventually("it waits", || std::fs::read_dir(&tasks).is_ok_and(|tasks| tasks.count() > 2));
    press(&mut terminal, CTRL_C);
    assert_ne!(terminal.code(), 0);
    assert!(!place.path("ran").exists());
}

#[test]
fn ctrl_z_stops_both_and_fg_continues_both() {
    let place = Place::new();
    let mut terminal = at_terminal(&place, "exec bash --norc --noprofile -i");
    press(&mut terminal, b"\"$TENURE\" exec job -c 'echo $PPID > up; read line; echo $line > got'\n");
    let tenure = place.pid("up");
    press(&mut terminal, CTRL_Z);
    eventually("it is stopped", || state_of(tenure) == Some('T'));
    assert!(!place.is_free("job"), "a stopped session keeps its lock");
    press(&mut terminal, b"fg\n");
    eventually("it is continued", || state_of(tenure) != Some('T'));
    press(&mut terminal, b"typed\n");
    eventually("it reads", || place.read("got") == "typed\n");
    press(&mut terminal, b"exit 0\n");
    assert_eq!(terminal.code(), 0);
    assert!(place.is_free("job"));
}

#[test]
fn ctrl_z_without_a_shell_to_continue_it_does_nothing() {
    let place = Place::new();
    let line = "exec \"$TENURE\" exec job -c 'echo up > up; read line; echo $line > got'";
    let mut terminal = at_terminal(&place, line);
    is_up(&place);
    press(&mut terminal, CTRL_Z);
    press(&mut terminal, b"typed\n");
    assert_eq!(terminal.code(), 0);
    assert_eq!(place.read("got"), "typed\n");
}
