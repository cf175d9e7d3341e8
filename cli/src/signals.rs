//! Signals as events, without handlers: they are blocked in all threads, and one thread waits for
//! them. What `tenure` was started with, such as an ignored `SIGHUP`, stays as it is and is
//! inherited by the command.

use std::sync::mpsc::Sender;
use std::thread;

use nix::sys::signal::{SigSet, SigmaskHow, Signal, raise};

use crate::failure::Failure;
use crate::supervise::Event;

/// What is passed on to the command.
const PASSED_ON: [Signal; 9] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGWINCH,
    Signal::SIGCONT,
    Signal::SIGTSTP,
];

/// Sends every signal from now on as an event; tells which signals were not blocked before. To be
/// called before any other thread is started, since threads inherit what is blocked.
pub(crate) fn listen(events: Sender<Event>) -> Result<SigSet, Failure> {
    let passed_on: SigSet = PASSED_ON.into_iter().collect();
    let mut blocked = passed_on;
    // A process in the background may give the terminal away only with this one blocked.
    blocked.add(Signal::SIGTTOU);
    let before = blocked
        .thread_swap_mask(SigmaskHow::SIG_BLOCK)
        .map_err(|errno| Failure::system("signals cannot be blocked", errno))?;
    let listener = move || {
        while let Ok(signal) = passed_on.wait() {
            if events.send(Event::Signal(signal)).is_err() {
                return;
            }
        }
    };
    thread::Builder::new()
        .name("tenure-signals".into())
        .spawn(listener)
        .map_err(|error| Failure::system("no thread can be started", error))?;
    Ok(blocked.iter().filter(|signal| !before.contains(*signal)).collect())
}

/// Does what the signal does to a process that knows nothing of it: ends this one, stops it, or
/// nothing. Returns when it is continued.
pub(crate) fn obey(signal: Signal) {
    let only: SigSet = [signal].into_iter().collect();
    // Whatever is refused here leaves a process that goes on as if nothing had come.
    if only.thread_unblock().is_ok() {
        let _ = raise(signal);
        let _ = only.thread_block();
    }
}
