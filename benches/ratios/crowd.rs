//! Processes full of waiters that all want one name, again and again.
//!
//! The program runs itself as the children: `TENURE_CROWD` says what a child does.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use tenure::{Files, Lock, aio};

const CHILD: &str = "TENURE_CROWD";

/// Processes full of waiters of one kind.
#[derive(Clone, Copy)]
pub(crate) struct Crowd {
    pub(crate) processes: usize,
    pub(crate) waiters: usize,
    pub(crate) kind: Kind,
    pub(crate) hold: Duration,
    pub(crate) lasting: Duration,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Tasks,
    Threads,
}

impl Crowd {
    /// Every wait of every process, from the call to the lock. `child` starts this program again, so
    /// that it comes to [`play`].
    pub(crate) fn waits(&self, child: impl Fn() -> Command) -> Vec<Vec<Duration>> {
        let folder = tempfile::tempdir().unwrap();
        let children: Vec<_> = (0..self.processes).map(|_| self.start(child(), folder.path())).collect();
        let mut children: Vec<_> = children.into_iter().map(ready).collect();
        for (child, _) in &mut children {
            child.stdin.take().unwrap().write_all(b"\n").unwrap();
        }
        let waits = children.into_iter().map(|(mut child, mut output)| {
            let mut text = String::new();
            output.read_to_string(&mut text).unwrap();
            assert!(child.wait().unwrap().success(), "a process of the crowd did not end well");
            let waits = text.lines().filter_map(|line| line.strip_prefix("waited ")?.parse().ok());
            waits.map(Duration::from_nanos).collect()
        });
        waits.collect()
    }

    fn start(&self, mut child: Command, folder: &Path) -> Child {
        let kind = if self.kind == Kind::Tasks { "tasks" } else { "threads" };
        let (hold, lasting) = (self.hold.as_micros(), self.lasting.as_micros());
        let what = format!("{kind} {} {hold} {lasting} {}", self.waiters, folder.display());
        child.env(CHILD, what).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
    }
}

/// Waits until a child has everything but the lock.
fn ready(mut child: Child) -> (Child, BufReader<impl Read>) {
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.ends_with("ready\n") {
        line.clear();
        assert!(output.read_line(&mut line).unwrap() > 0, "a process of the crowd ended at once");
    }
    (child, output)
}

/// Plays a child's part, if this is one.
pub(crate) fn play() -> bool {
    let Ok(what) = std::env::var(CHILD) else { return false };
    let words: Vec<_> = what.splitn(5, ' ').collect();
    let [kind, waiters, hold, lasting, folder] = words[..] else { unreachable!("{CHILD} is {what:?}") };
    let micros = |text: &str| Duration::from_micros(text.parse().unwrap());
    let (waiters, hold, lasting) = (waiters.parse().unwrap(), micros(hold), micros(lasting));
    let store = Files::open(folder).unwrap();
    let mut output = std::io::stdout();
    writeln!(output, "\nready").unwrap();
    std::io::stdin().read_line(&mut String::new()).unwrap();
    let until = Instant::now() + lasting;
    let waits = match kind {
        "tasks" => tasks(&store, waiters, hold, until),
        _ => threads(&store, waiters, hold, until),
    };
    let lines: String = waits.iter().map(|wait| format!("waited {}\n", wait.as_nanos())).collect();
    output.write_all(lines.as_bytes()).unwrap();
    true
}

fn tasks(store: &Files, waiters: usize, hold: Duration, until: Instant) -> Vec<Duration> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let tasks: Vec<_> = (0..waiters)
            .map(|_| {
                let lock = aio::Lock::new(store, "crowd");
                tokio::spawn(async move {
                    let mut waits = Vec::new();
                    while Instant::now() < until {
                        let began = Instant::now();
                        let held = lock.acquire().await.unwrap();
                        waits.push(began.elapsed());
                        if !hold.is_zero() {
                            tokio::time::sleep(hold).await;
                        }
                        held.release().await.unwrap();
                    }
                    waits
                })
            })
            .collect();
        let mut waits = Vec::new();
        for task in tasks {
            waits.extend(task.await.unwrap());
        }
        waits
    })
}

fn threads(store: &Files, waiters: usize, hold: Duration, until: Instant) -> Vec<Duration> {
    let waits = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..waiters {
            scope.spawn(|| {
                let lock = Lock::new(store, "crowd");
                while Instant::now() < until {
                    let began = Instant::now();
                    let held = lock.acquire().unwrap();
                    waits.lock().unwrap().push(began.elapsed());
                    if !hold.is_zero() {
                        thread::sleep(hold);
                    }
                    held.release().unwrap();
                }
            });
        }
    });
    waits.into_inner().unwrap()
}
