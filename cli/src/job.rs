//! The command as a process group.

use std::ffi::OsString;
use std::os::fd::BorrowedFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::Sender;
use std::thread;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::signal::{SigSet, Signal, killpg};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::failure::Failure;
use crate::shim;
use crate::supervise::Event;

/// A command to run.
pub(crate) struct Plan<'a> {
    pub(crate) words: &'a [OsString],
    pub(crate) variables: [(&'static str, String); 2],
    pub(crate) foreground: bool,
    /// What is blocked here, but not in the command.
    pub(crate) unblocked: SigSet,
    /// What the command and its descendants inherit.
    pub(crate) descriptor: Option<BorrowedFd<'a>>,
}

/// A running command, and whatever it starts in its process group.
#[derive(Clone, Copy)]
pub(crate) struct Job {
    group: Pid,
}

impl Job {
    /// Starts a command, and tells how it fares. To be called from the main thread: the kernel
    /// kills the command when the thread that started it ends.
    pub(crate) fn start(plan: &Plan<'_>, events: Sender<Event>) -> Result<Self, Failure> {
        let refused = |error| Failure::system("the command cannot be started", error);
        let place = if plan.foreground { shim::FOREGROUND } else { shim::BACKGROUND };
        let unblocked: Vec<_> = plan.unblocked.iter().map(Signal::as_str).collect();
        let mut command = Command::new(own_program().map_err(refused)?);
        command
            .arg0("tenure")
            .args([shim::NAME, place, &unblocked.join(","), &std::process::id().to_string()])
            .args(plan.words)
            .envs(plan.variables.iter().map(|(variable, value)| (variable, value)))
            .process_group(0);
        let inherit = |flag| plan.descriptor.map_or(Ok(0), |own| fcntl(own, FcntlArg::F_SETFD(flag)));
        inherit(FdFlag::empty()).map_err(|errno| refused(errno.into()))?;
        let started = command.spawn();
        let closed = inherit(FdFlag::FD_CLOEXEC);
        let child = started.map_err(refused)?;
        closed.map_err(|errno| refused(errno.into()))?;
        let group =
            i32::try_from(child.id()).map(Pid::from_raw).map_err(|_| refused(Errno::ERANGE.into()))?;
        let job = Self { group };
        thread::Builder::new().name("tenure-wait".into()).spawn(move || watch(group, &events)).map_err(
            |error| {
                job.signal(Signal::SIGKILL);
                Failure::system("no thread can be started", error)
            },
        )?;
        Ok(job)
    }

    pub(crate) fn group(self) -> Pid {
        self.group
    }

    /// Sends a signal to the whole group; to one that has gone there is nobody to tell.
    pub(crate) fn signal(self, signal: Signal) {
        let _ = killpg(self.group, signal);
    }

    /// Whether anybody is left in the group. The number can be another group's only after all
    /// process ids were used up, which takes longer than anybody asks here.
    pub(crate) fn is_alive(self) -> bool {
        killpg(self.group, None) != Err(Errno::ESRCH)
    }
}

/// Reports stops, and at last the end.
fn watch(process: Pid, events: &Sender<Event>) {
    loop {
        let status = match waitpid(process, Some(WaitPidFlag::WUNTRACED)) {
            Err(Errno::EINTR) => continue,
            status => status,
        };
        let stopped = matches!(status, Ok(WaitStatus::Stopped(..)));
        if events.send(Event::Command(status)).is_err() || !stopped {
            return;
        }
    }
}

/// This very program, also if its file was replaced meanwhile.
fn own_program() -> std::io::Result<PathBuf> {
    let own = Path::new("/proc/self/exe");
    if own.exists() { Ok(own.into()) } else { std::env::current_exe() }
}
