//! Starting the command, through a moment as this very program: so it dies with its parent.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitCode};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use nix::unistd::{getpgrp, getpid, getppid, tcgetpgrp, tcsetpgrp};
use tenure::{Error, Result};

use crate::held::Holding;
use crate::{plain, status};

/// The first argument of this program when it is about to become the command.
pub(crate) const SHIM: &str = "__become";

/// Starts the command in a process group of its own. `blocked` are the signals to be unblocked
/// there again.
pub(crate) fn start(
    words: &[OsString],
    name: &str,
    held: &dyn Holding,
    inherit: bool,
    blocked: &[Signal],
) -> Result<Child> {
    let this =
        std::env::current_exe().map_err(|error| failed("this program cannot be found again", error))?;
    let signals: Vec<_> = blocked.iter().map(|signal| signal.as_str()).collect();
    let mut command = Command::new(this);
    command
        .arg(SHIM)
        .arg(getpid().to_string())
        .arg(if has_terminal() { "terminal" } else { "none" })
        .arg(signals.join(","))
        .args(words)
        .env("TENURE_LOCK", name)
        .env("TENURE_FENCE", held.fence().to_string())
        .process_group(0);
    let descriptor = held.descriptor().filter(|_| inherit);
    if let Some(descriptor) = descriptor {
        set_inherited(descriptor, true)?;
    }
    let child = command.spawn().map_err(|error| failed("the command cannot be started", error));
    if let Some(descriptor) = descriptor {
        set_inherited(descriptor, false)?;
    }
    child
}

/// Becomes the command: the rest of `start`, in the new process.
pub(crate) fn become_command(mut words: impl Iterator<Item = OsString>) -> ExitCode {
    let (parent, terminal, blocked) = (words.next(), words.next(), words.next());
    let Some(program) = words.next() else { return ExitCode::from(status::USAGE) };
    // Killed with its parent, which may be gone already.
    let tied = set_pdeathsig(Signal::SIGKILL).is_ok();
    if tied && parent.as_deref() != Some(OsStr::new(&getppid().to_string())) {
        return ExitCode::from(128 + 9);
    }
    if terminal.as_deref() == Some(OsStr::new("terminal")) {
        // SIGTTOU is blocked here still, so that a group in the background may do this.
        let _ = tcsetpgrp(io::stdin(), getpid());
    }
    let blocked = blocked.unwrap_or_default();
    let signals: SigSet =
        blocked.to_string_lossy().split(',').filter_map(|signal| signal.parse::<Signal>().ok()).collect();
    let _ = signals.thread_swap_mask(SigmaskHow::SIG_UNBLOCK);
    let error = Command::new(&program).args(words).exec();
    eprintln!("tenure: {}: {error}", plain(&program.to_string_lossy()));
    ExitCode::from(match error.kind() {
        io::ErrorKind::NotFound => status::NOT_FOUND,
        _ => status::NOT_EXECUTABLE,
    })
}

/// Whether this program has the terminal, to be handed to the command.
pub(crate) fn has_terminal() -> bool {
    tcgetpgrp(io::stdin()).is_ok_and(|group| group == getpgrp())
}

/// Gives the terminal to a process group.
pub(crate) fn hand_terminal(group: nix::unistd::Pid) {
    let _ = tcsetpgrp(io::stdin(), group);
}

fn set_inherited(descriptor: BorrowedFd<'_>, inherited: bool) -> Result<()> {
    let flags = if inherited { FdFlag::empty() } else { FdFlag::FD_CLOEXEC };
    fcntl(descriptor, FcntlArg::F_SETFD(flags))
        .map(drop)
        .map_err(|errno| failed("the lock cannot be passed on", errno.into()))
}

fn failed(what: &str, error: io::Error) -> Error {
    Error::unavailable(what).with_source(error)
}
