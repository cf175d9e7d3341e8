//! From one process's release to the next one's return, at several times of holding.
//!
//! The program runs itself as the children: `TENURE_HANDOFF` says what a child does.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use tenure_core::{Lock, Moment};
use tenure_servers::Memcached;

use crate::measure::{nanos, percentile, report};

const CHILD: &str = "TENURE_HANDOFF";

/// For how long they contend.
const LASTING: Duration = Duration::from_secs(4);

/// How long each holds the lock.
const HOLDS: [u64; 4] = [1, 10, 60, 260];

pub(crate) fn run(server: &Memcached) {
    println!("two processes; medians from release to return");
    for hold in HOLDS {
        let [polled, waited] = ["polls", "waits"].map(|way| contend(server, way, hold));
        let median = |run: &Run| nanos(percentile(run.times.clone(), 50));
        let times = (median(&waited), median(&polled));
        report(format!("hand-off, held for {hold} ms"), "polling every 100 ms", times, None);
        report("hand-off", "the time of holding", (times.0, hold as f64 * 1e6), None);
        println!(
            "            [p99 {:?}; {} hand-offs, {:.1} commands each]",
            percentile(waited.times.clone(), 99),
            waited.times.len(),
            waited.commands
        );
    }
}

/// What was seen of two processes that contended.
struct Run {
    times: Vec<Duration>,
    /// Per hold.
    commands: f64,
}

fn contend(server: &Memcached, way: &str, hold: u64) -> Run {
    let before = crate::commands(server);
    let children: Vec<_> = (0..2).map(|_| start(server, way, hold)).collect();
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
    let commands = crate::commands(server) - before;
    let others = holds.windows(2).filter(|pair| pair[0].2 != pair[1].2);
    let times: Vec<_> =
        others.map(|pair| Duration::from_nanos(pair[1].0.saturating_sub(pair[0].1))).collect();
    Run { commands: commands as f64 / holds.len() as f64, times }
}

fn start(server: &Memcached, way: &str, hold: u64) -> Child {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.env(CHILD, format!("{way} {hold} {}", server.url()));
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
    let [way, hold, url] = what.split(' ').collect::<Vec<_>>()[..] else {
        unreachable!("{CHILD} is {what:?}")
    };
    let (store, hold) = (crate::open(url), Duration::from_millis(hold.parse().unwrap()));
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
        thread::sleep(hold);
        let released = Moment::now().as_nanos();
        held.release().unwrap();
        lines += &format!("held {got} {released}\n");
        // Whoever came back at once would take it again; who waits is back before the other lets go.
        thread::sleep(if way == "polls" { Duration::from_millis(100) } else { hold / 4 });
    }
    std::io::stdout().write_all(lines.as_bytes()).unwrap();
    true
}
