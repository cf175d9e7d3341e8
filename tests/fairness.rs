//! The unluckiest of many waiters waits little longer than the others.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "helpers of tests, outside of test functions")]

#[allow(dead_code, reason = "shared with the benchmark, which shows more")]
#[path = "../benches/ratios/crowd.rs"]
mod crowd;

use std::process::Command;
use std::time::Duration;

use crowd::{Crowd, Kind};

#[test]
fn a_child_of_the_crowd() {
    crowd::play();
}

#[test]
fn among_tasks_of_eight_processes_the_longest_wait_is_at_most_three_times_the_median() {
    let second = Duration::from_secs(1);
    let crowd =
        Crowd { processes: 8, waiters: 50, kind: Kind::Tasks, hold: second / 1000, lasting: second * 5 };
    let waits = crowd.waits(|| {
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", "a_child_of_the_crowd", "--nocapture"]);
        child
    });
    let grants: Vec<_> = waits.iter().map(Vec::len).collect();
    let mut waits = waits.concat();
    waits.sort_unstable();
    let (median, longest) = (waits[waits.len() / 2], waits[waits.len() - 1]);
    assert!(longest <= median * 3, "{longest:?} beside a median of {median:?}; grants {grants:?}");
}
