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

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tenure_core::Settings;
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
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "the_child_plays_its_role", "--nocapture"])
            .env(ROLE, role)
            .env(DIR, dir)
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
