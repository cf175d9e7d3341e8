//! From one process's release to the next one's return, with one and with eight that wait.
//!
//! The program runs itself as the children: `TENURE_HANDOFF` says what a child does.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use tenure::{Db, Lock, Moment};

use crate::database::Database;
use crate::measure::{nanos, percentile, report};

const CHILD: &str = "TENURE_HANDOFF";

/// For how long they contend.
const LASTING: Duration = Duration::from_secs(4);

/// For how long each holds the lock, so that all others wait by then.
const HOLD: Duration = Duration::from_millis(3);

/// How long who polls sleeps.
const POLL: Duration = Duration::from_millis(100);

/// How a child takes the lock.
const WAYS: [&str; 2] = ["polls", "waits"];

pub(crate) fn run(database: &Database) {
    println!("the lock is held for {HOLD:?}; medians from release to return, p99 in brackets");
    // Who opens it first makes the table.
    drop(database.store());
    for waiting in [1, 8] {
        let [polled, woken] = WAYS.map(|way| contend(database, waiting + 1, way));
        let over = format!("polling every {POLL:?}, {waiting} waiting");
        let median = |run: &Run| nanos(percentile(run.times.clone(), 50));
        report(format!("hand-off, {waiting} waiting"), over, (median(&woken), median(&polled)), Some(0.02));
        for (way, Run { times, holds }) in WAYS.iter().zip([polled, woken]) {
            let hand_offs = times.len();
            println!(
                "            [{way}: p99 {:?}; {hand_offs} of {holds} holds handed on]",
                percentile(times, 99)
            );
        }
    }
}

/// What was seen of some processes that contended.
struct Run {
    /// Of each hand-off.
    times: Vec<Duration>,
    /// How often it was held; who takes it again at once hands nothing on.
    holds: usize,
}

fn contend(database: &Database, processes: usize, way: &str) -> Run {
    let children: Vec<_> = (0..processes).map(|_| start(database, way)).collect();
    let mut children: Vec<_> = children.into_iter().map(ready).collect();
    for (child, _) in &mut children {
        child.stdin.take().unwrap().write_all(b"\n").unwrap();
    }
    let mut holds = Vec::new();
    for (number, (mut child, mut output)) in children.into_iter().enumerate() {
        let mut text = String::new();
        output.read_to_string(&mut text).unwrap();
        assert!(child.wait().unwrap().success(), "a process did not end well");
        let hold = |line: &str| {
            let (got, released) = line.strip_prefix("held ")?.split_once(' ')?;
            Some((got.parse::<u64>().ok()?, released.parse::<u64>().ok()?, number))
        };
        holds.extend(text.lines().filter_map(hold));
    }
    holds.sort_unstable();
    let others = holds.windows(2).filter(|pair| pair[0].2 != pair[1].2);
    let times = others.map(|pair| Duration::from_nanos(pair[1].0.saturating_sub(pair[0].1))).collect();
    Run { times, holds: holds.len() }
}

fn start(database: &Database, way: &str) -> Child {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.env(CHILD, format!("{way} {}", database.url()));
    child.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
}

/// Waits until a child has everything but the lock.
fn ready(mut child: Child) -> (Child, BufReader<impl Read>) {
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.ends_with("ready\n") {
        line.clear();
        assert!(output.read_line(&mut line).unwrap() > 0, "a process ended at once");
    }
    (child, output)
}

/// Plays a child's part, if this is one.
pub(crate) fn play() -> bool {
    let Ok(what) = std::env::var(CHILD) else { return false };
    let (way, url) = what.split_once(' ').unwrap();
    let store = Db::connect(url).unwrap();
    let lock = Lock::new(&store, "handoff");
    println!("\nready");
    std::io::stdin().read_line(&mut String::new()).unwrap();
    let until = Moment::now() + LASTING;
    let mut lines = String::new();
    while Moment::now() < until {
        let held = loop {
            match way {
                "polls" => match lock.try_acquire() {
                    Ok(held) => break held,
                    Err(_) => thread::sleep(POLL),
                },
                _ => break lock.acquire().unwrap(),
            }
        };
        let got = Moment::now().as_nanos();
        thread::sleep(HOLD);
        let released = Moment::now().as_nanos();
        held.release().unwrap();
        lines += &format!("held {got} {released}\n");
        if way == "polls" {
            // Whoever came back at once would take it from those who poll.
            thread::sleep(POLL);
        }
    }
    std::io::stdout().write_all(lines.as_bytes()).unwrap();
    true
}
