//! The real command, in a place of its own.

#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, reason = "what the tests share may fail like a test")]

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

pub(crate) const TENURE: &str = env!("CARGO_BIN_EXE_tenure");

/// A folder for locks and for what commands write; commands run in it.
pub(crate) struct Place(TempDir);

impl Place {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// A program that finds this place and no other settings, and ignores no signal although whoever
    /// runs the tests may.
    pub(crate) fn program(&self, program: &str) -> Command {
        let mut command = Command::new("env");
        command
            .args(["--default-signal", program])
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.0.path())
            .env("TENURE_STORE", format!("file:{}", self.path("locks").display()))
            .env("TENURE", TENURE)
            .current_dir(self.0.path())
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn tenure(&self, words: &[&str]) -> Command {
        let mut command = self.program(TENURE);
        command.args(words);
        command
    }

    /// Runs it to its end.
    pub(crate) fn run(&self, words: &[&str]) -> Output {
        self.tenure(words).output().unwrap()
    }

    pub(crate) fn status(&self, words: &[&str]) -> Option<i32> {
        self.run(words).status.code()
    }

    /// Starts it, and waits until its command has written the file `up`.
    pub(crate) fn start(&self, words: &[&str]) -> Running {
        self.start_command(&mut self.tenure(words))
    }

    pub(crate) fn start_command(&self, command: &mut Command) -> Running {
        let _ = fs::remove_file(self.path("up"));
        let running = Running(command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap());
        eventually("the command is up", || self.read("up").ends_with('\n'));
        running
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.0.path().join(file)
    }

    pub(crate) fn write(&self, file: &str) {
        fs::write(self.path(file), "").unwrap();
    }

    /// What a file holds; nothing if it is not there.
    pub(crate) fn read(&self, file: &str) -> String {
        fs::read_to_string(self.path(file)).unwrap_or_default()
    }

    /// The process id that a command wrote.
    pub(crate) fn pid(&self, file: &str) -> Pid {
        eventually("a process id is written", || self.read(file).ends_with('\n'));
        Pid::from_raw(self.read(file).trim().parse().unwrap())
    }

    pub(crate) fn is_free(&self, name: &str) -> bool {
        self.status(&["exec", "-nq", name, "true"]) == Some(0)
    }
}

/// A process that does not outlive its test.
pub(crate) struct Running(pub(crate) Child);

impl Running {
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(self.0.id().cast_signed())
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    /// How it ended.
    pub(crate) fn end(&mut self) -> ExitStatus {
        let mut end = None;
        eventually("it ends", || {
            end = self.0.try_wait().unwrap();
            end.is_some()
        });
        end.unwrap()
    }

    /// Its exit status, or 1000 and the signal that ended it.
    pub(crate) fn code(&mut self) -> i32 {
        let end = self.end();
        end.code().unwrap_or_else(|| 1000 + end.signal().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Looks until it is so.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Whether a process runs; one that waits to be reaped does not.
pub(crate) fn runs(pid: Pid) -> bool {
    state_of(pid).is_some_and(|state| state != 'Z' && state != 'X')
}

/// The letter of a process's state in `proc(5)`.
pub(crate) fn state_of(pid: Pid) -> Option<char> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    text.rsplit_once(") ")?.1.chars().next()
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}
