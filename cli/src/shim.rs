//! What `tenure exec` starts in place of the command, and what becomes the command: it ties the
//! command's life to that of `tenure exec`, which only the process itself can do.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::sys::signal::{SigSet, Signal};
use nix::unistd::{getpgrp, getppid};

use crate::failure::{CANNOT_RUN, Failure, NOT_FOUND, SYSTEM};
use crate::terminal::Terminal;

/// The first argument that makes `tenure` the shim.
pub(crate) const NAME: &str = "__exec";

/// The second argument: whether the command gets the terminal.
pub(crate) const FOREGROUND: &str = "foreground";
pub(crate) const BACKGROUND: &str = "background";

/// Becomes the command; `words` are [`FOREGROUND`] or [`BACKGROUND`], the signals to unblock, the
/// process id of `tenure exec`, the command and its arguments. Returns only if it cannot.
pub(crate) fn run(mut words: impl Iterator<Item = OsString>) -> Failure {
    let mut word = || words.next();
    let (Some(place), Some(unblocked), Some(parent), Some(command)) = (word(), word(), word(), word()) else {
        return Failure::new(SYSTEM, "this form is for `tenure exec` itself; see `tenure exec --help`");
    };
    if let Err(failure) = die_with(&parent) {
        return failure;
    }
    if place == FOREGROUND {
        // `SIGTTOU` is still blocked, so that this does not stop us.
        Terminal::open().give_to(getpgrp());
    }
    let unblocked = unblocked.to_str().unwrap_or_default();
    let unblocked: SigSet = unblocked.split(',').filter_map(|name| name.parse::<Signal>().ok()).collect();
    if let Err(errno) = unblocked.thread_unblock() {
        return Failure::system("signals cannot be unblocked", errno);
    }
    // This also gives back `SIGPIPE`, which our own runtime ignores.
    let error = Command::new(&command).args(words).exec();
    let status = if error.kind() == ErrorKind::NotFound { NOT_FOUND } else { CANNOT_RUN };
    Failure::new(status, format!("{}: cannot be run: {error}", command.display()))
}

/// Has the kernel kill this process when `tenure exec` ends, unless that has happened already.
fn die_with(parent: &OsString) -> Result<(), Failure> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)
        .map_err(|errno| Failure::system("the command cannot be tied to `tenure exec`", errno))?;
    if parent.to_str() != Some(getppid().to_string().as_str()) {
        return Err(Failure::silent(SYSTEM));
    }
    Ok(())
}
