//! `fork(2)`.
#![expect(
    unsafe_code,
    reason = "no safe function forks, and what a child does to a lock is part of the contract"
)]

use nix::libc;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork};

/// Runs `act` in a forked child, which then ends without any clean-up; false if that went wrong.
pub(crate) fn in_child(act: impl FnOnce()) -> bool {
    // SAFETY: the child uses no lock that another thread of the parent may have held at the fork:
    // `act` drops or releases a held lock, which looks at the process id first and leaves it at that.
    match unsafe { fork() } {
        Ok(ForkResult::Child) => {
            act();
            // SAFETY: ends the child at once; no destructor of the parent's copy runs.
            unsafe { libc::_exit(0) }
        }
        Ok(ForkResult::Parent { child }) => matches!(waitpid(child, None), Ok(WaitStatus::Exited(_, 0))),
        Err(_) => false,
    }
}
