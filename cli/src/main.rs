//! The `tenure` command: runs a program while holding a lock, tells who holds locks, breaks them.

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command speaks to its user")]

mod args;
mod command;
mod exec;
mod held;
mod inspect;
mod store;

use std::ffi::OsStr;
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;

use args::{Args, Task};

/// The exit statuses that are tenure's own, from `sysexits.h` where it has one.
mod status {
    /// Nobody held what was to be shown or broken.
    pub(crate) const FREE: u8 = 1;
    /// The arguments make no sense.
    pub(crate) const USAGE: u8 = 64;
    /// The store did not answer.
    pub(crate) const UNAVAILABLE: u8 = 69;
    /// Something else went wrong.
    pub(crate) const SOFTWARE: u8 = 70;
    /// The lock is busy, unless `-E` says otherwise.
    pub(crate) const BUSY: u8 = 75;
    /// The lock was lost while the command ran.
    pub(crate) const LOST: u8 = 76;
    /// A setting, a URL or a name that cannot work.
    pub(crate) const CONFIG: u8 = 78;
    /// The command could not be started.
    pub(crate) const NOT_EXECUTABLE: u8 = 126;
    /// The command was not found.
    pub(crate) const NOT_FOUND: u8 = 127;
}

fn main() -> ExitCode {
    let mut words = std::env::args_os();
    let _ = words.next();
    if words.next().as_deref() == Some(OsStr::new(command::SHIM)) {
        return command::become_command(words);
    }
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(refused) => {
            let _ = refused.print();
            let asked = matches!(refused.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            return ExitCode::from(if asked { 0 } else { status::USAGE });
        }
    };
    let done = match args.task {
        Task::Exec(task) => exec::run(task),
        Task::Status(task) => inspect::show(&task),
        Task::Break(task) => inspect::force(&task),
    };
    done.unwrap_or_else(|error| ExitCode::from(report(&error)))
}

/// Says what went wrong, once, with its causes; the exit status for it.
fn report(error: &tenure::Error) -> u8 {
    let mut line = format!("tenure: {error}");
    let mut cause = std::error::Error::source(error);
    while let Some(source) = cause {
        line += &format!(": {source}");
        cause = source.source();
    }
    eprintln!("{}", plain(&line));
    if error.is_unavailable() || error.is_quarantined() {
        status::UNAVAILABLE
    } else if error.is_misconfigured() || error.is_invalid_name() {
        status::CONFIG
    } else if error.is_lost() {
        status::LOST
    } else {
        status::SOFTWARE
    }
}

/// A text without anything that a terminal would obey.
fn plain(text: &str) -> String {
    let escape = |part: char| match part.is_control() {
        true => part.escape_default().to_string(),
        false => part.to_string(),
    };
    text.chars().map(escape).collect()
}
