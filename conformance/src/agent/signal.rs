//! Stopping, waking and killing a process.

use std::process::Child;

use crate::failure::{Failure, Outcome};

#[cfg(unix)]
mod unix {
    use nix::sys::signal::{Signal, kill};
    use nix::sys::wait::{WaitPidFlag, waitpid};
    use nix::unistd::Pid;

    use super::{Child, Failure, Outcome};

    fn pid(child: &Child) -> Pid {
        Pid::from_raw(child.id().cast_signed())
    }

    fn send(child: &Child, signal: Signal) -> Outcome {
        kill(pid(child), signal).map_err(|error| Failure::new(format!("{signal} to an agent: {error}")))
    }

    /// Stops it, and waits until it stands still.
    pub(crate) fn stop(child: &Child) -> Outcome {
        send(child, Signal::SIGSTOP)?;
        let stopped = waitpid(pid(child), Some(WaitPidFlag::WUNTRACED));
        stopped.map(drop).map_err(|error| Failure::new(format!("waiting for a stopped agent: {error}")))
    }

    pub(crate) fn wake(child: &Child) -> Outcome {
        send(child, Signal::SIGCONT)
    }
}

#[cfg(not(unix))]
mod unix {
    use super::{Child, Failure, Outcome};

    pub(crate) fn stop(_: &Child) -> Outcome {
        Err(Failure::new("processes cannot be stopped on this system"))
    }

    pub(crate) fn wake(_: &Child) -> Outcome {
        Err(Failure::new("processes cannot be woken on this system"))
    }
}

pub(super) use unix::{stop, wake};

/// Kills it like `kill -9`, and waits until it is gone.
pub(super) fn kill(child: &mut Child) -> Outcome {
    child.kill()?;
    child.wait()?;
    Ok(())
}
