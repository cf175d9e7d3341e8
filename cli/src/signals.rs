//! Signals as events, without handlers: they are blocked in all threads, and one thread waits for
//! them. What `tenure` was started with, such as an ignored `SIGHUP`, stays as it is and is
//! inherited by the command.

use std::sync::mpsc::Sender;
use std::thread;

use nix::sys::signal::{SigSet, Signal, raise};

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

/// Sends every signal from now on as an event. To be called before any other thread is started,
/// since threads inherit what is blocked.
pub(crate) fn listen(events: Sender<Event>) -> Result<(), Failure> {
    let mut passed_on = SigSet::empty();
    PASSED_ON.into_iter().for_each(|signal| passed_on.add(signal));
    let mut blocked = passed_on;
    // A process in the background may give the terminal away only with this one blocked.
    blocked.add(Signal::SIGTTOU);
    blocked.thread_block().map_err(|errno| Failure::system("signals cannot be blocked", errno))?;
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
    Ok(())
}

/// Does what the signal does to a process that knows nothing of it: ends this one, stops it, or
/// nothing. Returns when it is continued.
pub(crate) fn obey(signal: Signal) {
    let mut only = SigSet::empty();
    only.add(signal);
    // Whatever is refused here leaves a process that goes on as if nothing had come.
    if only.thread_unblock().is_ok() {
        let _ = raise(signal);
        let _ = only.thread_block();
    }
}
