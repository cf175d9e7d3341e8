//! Forking an agent that holds a lock.

use super::command::{Answer, ForkDeed};
use crate::driver::TestHeld;
use crate::subject::TestLock;

/// Forks; the child does the deed with its copy and ends, the parent waits for that, unless the
/// child is to linger. The parent's lock is given back.
#[cfg(unix)]
pub(super) fn fork(lock: &TestLock, held: TestHeld, deed: ForkDeed) -> (Answer, TestHeld) {
    use std::time::Duration;

    use nix::libc::_exit;
    use nix::sys::wait::{WaitStatus, waitpid};
    use nix::unistd::{ForkResult, alarm};
    use tenure_core::Error;

    #[expect(unsafe_code, reason = "what a store does in a forked child cannot be seen without a fork")]
    // SAFETY: the child uses what a forked child of a program with threads should not rely on, such
    // as the allocator; glibc and musl keep that usable, and an alarm ends a child that hangs.
    let child = unsafe { nix::unistd::fork() };
    match child {
        Ok(ForkResult::Child) => {
            alarm::set(LINGER);
            let well = match deed {
                ForkDeed::Drop => {
                    drop(held);
                    true
                }
                ForkDeed::Release => held.release().is_err(),
                ForkDeed::TryAgain => lock.try_acquire().is_err_and(|error| error.is_contended()),
                ForkDeed::Linger => {
                    std::thread::sleep(Duration::from_secs(LINGER.into()));
                    true
                }
            };
            #[expect(unsafe_code, reason = "a forked child must not run its parent's exit handlers")]
            // SAFETY: ends the process without returning.
            unsafe {
                _exit(if well { 0 } else { 1 })
            }
        }
        Ok(ForkResult::Parent { .. }) if deed == ForkDeed::Linger => (Answer::Done, held),
        Ok(ForkResult::Parent { child }) => match waitpid(child, None) {
            Ok(WaitStatus::Exited(_, 0)) => (Answer::Done, held),
            seen => {
                (Error::unavailable(format!("the forked child did not do {deed:?}: {seen:?}")).into(), held)
            }
        },
        Err(error) => (Error::unavailable(error.to_string()).into(), held),
    }
}

/// After so many seconds a child ends whatever it does.
#[cfg(unix)]
const LINGER: u32 = 10;

#[cfg(not(unix))]
pub(super) fn fork(_: &TestLock, held: TestHeld, _: ForkDeed) -> (Answer, TestHeld) {
    (tenure_core::Error::misconfigured("this system cannot fork").into(), held)
}
