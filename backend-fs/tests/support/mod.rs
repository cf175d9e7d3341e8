//! Children that a test binary runs as itself: `TENURE_TEST_ROLE` says what a child does, and the test
//! `the_child_plays_its_role` of the binary does it.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "helpers of tests, of which each test file uses a part"
)]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tenure_core::{Backend, Settings};
use tenure_fs::Files;

const ROLE: &str = "TENURE_TEST_ROLE";
const DIR: &str = "TENURE_TEST_DIR";

/// A child of this test; killed when dropped.
pub struct Role {
    pub child: Child,
    output: BufReader<std::process::ChildStdout>,
}

impl Role {
    pub fn start(role: &str, dir: &Path) -> Self {
        Self::start_with(role, dir, None)
    }

    /// With a variable of its environment.
    pub fn start_with(role: &str, dir: &Path, variable: Option<(&str, &str)>) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "the_child_plays_its_role", "--nocapture"])
            .env(ROLE, role)
            .env(DIR, dir)
            .envs(variable)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self { child, output }
    }

    /// The next thing it says, after what the test harness prints.
    pub fn says(&mut self) -> String {
        let mut line = String::new();
        while self.output.read_line(&mut line).unwrap() > 0 {
            if let Some((_, said)) = line.trim_end().split_once("says ") {
                return said.to_owned();
            }
            line.clear();
        }
        panic!("the child ended without a word");
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
    }

    pub fn end(mut self) -> bool {
        drop(self.child.stdin.take());
        self.child.wait().unwrap().success()
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn say(what: impl std::fmt::Display) {
    println!("says {what}");
    std::io::stdout().flush().unwrap();
}

/// The part that this process is to play, and where, if it is a child.
pub fn role() -> Option<(String, PathBuf)> {
    Some((std::env::var(ROLE).ok()?, std::env::var_os(DIR)?.into()))
}

/// Until the parent has read enough.
pub fn wait_for_parent() {
    let _ = std::io::stdin().read_line(&mut String::new());
}

pub fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let until = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < until, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The record of `a` in a store, as the kernel calls it.
pub fn record(dir: &Path) -> PathBuf {
    dir.canonicalize().unwrap().join("lock=a.lock")
}

/// How many descriptions of a file this process has. Of a record, one for each store that uses it, and one
/// more for each that waits for its lock.
pub fn descriptions(file: &Path) -> usize {
    let descriptors = fs::read_dir("/proc/self/fd").unwrap().flatten();
    descriptors.filter(|found| fs::read_link(found.path()).is_ok_and(|path| path == file)).count()
}

/// Waits until the first waiter of a store for `a` stands where other processes see it; `before` is how many
/// descriptions of the record there were before it came.
pub fn wait_for_waiter(store: &Files, record: &Path, before: usize) {
    wait_until("it waits", || Backend::site(store).waiting("lock:a") == 1 && descriptions(record) > before);
}

/// Where to see what this thread does.
pub fn this_thread() -> PathBuf {
    Path::new("/proc").join(fs::read_link("/proc/thread-self").unwrap())
}

/// Whether a thread waits for something; no, if it is gone.
pub fn sleeps(thread: &Path) -> bool {
    // The state comes after the name, which is in brackets.
    let stat = fs::read_to_string(thread.join("stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| rest.starts_with(" S "))
}

/// The threads of this process whose names begin so.
pub fn threads(name: &str) -> Vec<PathBuf> {
    let threads = fs::read_dir("/proc/self/task").unwrap().flatten().map(|thread| thread.path());
    let is_called =
        |thread: &PathBuf| fs::read_to_string(thread.join("comm")).is_ok_and(|comm| comm.starts_with(name));
    threads.filter(is_called).collect()
}

pub fn store() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("locks");
    (dir, path)
}

/// A store whose waiters never look by themselves.
pub fn sleepy(path: &Path) -> Files {
    let minute = Duration::from_secs(60);
    let settings = Settings::default().with_sleep(minute).and_then(|settings| settings.with_recheck(minute));
    Files::builder(path).settings(settings.unwrap()).open().unwrap()
}
