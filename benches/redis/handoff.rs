//! From one process's release to the next one's return, with one and with eight that wait.
//!
//! The program runs itself as the children: `TENURE_HANDOFF` says what a child does.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use tenure::{Lock, Moment, Redis as Store};
use tenure_servers::Redis;

use crate::measure::{nanos, percentile, report};
use crate::raw::connection;

const CHILD: &str = "TENURE_HANDOFF";

/// For how long they contend.
const LASTING: Duration = Duration::from_secs(4);

/// For how long each holds the lock, so that all others wait by then.
const HOLD: Duration = Duration::from_millis(3);

/// How a child takes the lock.
const WAYS: [&str; 3] = ["polls", "waits", "queues"];

pub(crate) fn run(server: &Redis) {
    println!("the lock is held for {HOLD:?}; medians from release to return, p99 in brackets");
    for waiting in [1, 8] {
        let [polled, woken, queued] = WAYS.map(|way| contend(server, waiting + 1, way));
        let about = |run: &Run| {
            println!(
                "            [p99 {:?}; {} hand-offs, {:.2} attempts each]",
                percentile(run.times.clone(), 99),
                run.times.len(),
                run.attempts
            );
        };
        let median = |run: &Run| nanos(percentile(run.times.clone(), 50));
        let (polling, slow) = (format!("polling every 100 ms, {waiting} waiting"), median(&polled));
        report(format!("hand-off, {waiting} waiting"), &polling, (median(&woken), slow), Some(0.01));
        about(&woken);
        report(
            format!("hand-off with fair(), {waiting} waiting"),
            &polling,
            (median(&queued), slow),
            Some(0.01),
        );
        about(&queued);
        if waiting == 8 {
            let times = (nanos(percentile(queued.times.clone(), 99)), median(&queued));
            report("p99 of a hand-off with fair()", "its median", times, Some(5.0));
            report("attempts with fair()", "hand-offs", (queued.attempts, 1.0), Some(1.3));
        }
    }
}

/// What was seen of some processes that contended.
struct Run {
    times: Vec<Duration>,
    /// Scripts that acquire or refresh a place, per hand-off.
    attempts: f64,
}

fn contend(server: &Redis, processes: usize, way: &str) -> Run {
    let before = scripts(server);
    let children: Vec<_> = (0..processes).map(|_| start(server, way)).collect();
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
    let attempts = scripts(server) - before - holds.len() as u64;
    let others = holds.windows(2).filter(|pair| pair[0].2 != pair[1].2);
    let times: Vec<_> =
        others.map(|pair| Duration::from_nanos(pair[1].0.saturating_sub(pair[0].1))).collect();
    Run { attempts: attempts as f64 / holds.len() as f64, times }
}

/// How many scripts the server has run.
fn scripts(server: &Redis) -> u64 {
    let stats: String = redis::cmd("INFO").arg("commandstats").query(&mut connection(server)).unwrap();
    let calls = |name: &str| {
        let line = stats.lines().find_map(|line| line.strip_prefix(name))?;
        line.strip_prefix("calls=")?.split(',').next()?.parse::<u64>().ok()
    };
    ["cmdstat_evalsha:", "cmdstat_eval:"].into_iter().filter_map(calls).sum()
}

fn start(server: &Redis, way: &str) -> Child {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.env(CHILD, format!("{way} {}", server.url()));
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
    let store = Store::builder(url);
    let store = if way == "queues" { store.fair() } else { store }.connect().unwrap();
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
                    Err(_) => thread::sleep(Duration::from_millis(100)),
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
            thread::sleep(Duration::from_millis(100));
        }
    }
    std::io::stdout().write_all(lines.as_bytes()).unwrap();
    true
}
