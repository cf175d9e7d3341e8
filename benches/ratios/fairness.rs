//! How long the unluckiest of many waiters waits, beside the others.

use std::process::Command;
use std::time::Duration;

use crate::crowd::{Crowd, Kind};
use crate::measure::{nanos, percentile, report};

pub(crate) fn run() {
    println!("8 processes with 50 waiters each, who want one name of files again and again for 5 s");
    let crowd = |kind, hold| Crowd { processes: 8, waiters: 50, kind, hold, lasting: Duration::from_secs(5) };
    show("tasks that hold it for 1 ms", crowd(Kind::Tasks, Duration::from_millis(1)), Some(3.0));
    show("threads that hold it for 1 ms", crowd(Kind::Threads, Duration::from_millis(1)), None);
    // All waits are short here, so that a process that gets no cpu for a while shows.
    show("tasks that release it at once", crowd(Kind::Tasks, Duration::ZERO), None);
    show("threads that release it at once", crowd(Kind::Threads, Duration::ZERO), None);
}

fn show(what: &str, crowd: Crowd, target: Option<f64>) {
    let waits = crowd.waits(|| Command::new(std::env::current_exe().unwrap()));
    let grants: Vec<_> = waits.iter().map(Vec::len).collect();
    let all = waits.concat();
    let times = (nanos(percentile(all.clone(), 100)), nanos(percentile(all.clone(), 50)));
    report(format!("longest wait of {what}"), "median wait", times, target);
    println!("            [p99 {:?}; grants by process {grants:?}]", percentile(all, 99));
}
