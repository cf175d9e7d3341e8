//! `tenure exec`: runs a command while holding a lock.

use std::ffi::OsString;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use nix::sys::signal::{SigSet, Signal, killpg};
use nix::sys::wait::WaitStatus;
use nix::unistd::getpgrp;
use tenure::{Error, Name};

use crate::args::Exec;
use crate::failure::{BUSY, Failure, LOST, SYSTEM, UNAVAILABLE, chain, warn};
use crate::job::{Job, Plan};
use crate::show::rough;
use crate::signals;
use crate::store::{Holding, Patience, Store, Wish};
use crate::supervise::{Event, Outcome, Supervision};
use crate::terminal::Terminal;

pub(crate) fn run(exec: &Exec, store: Option<&str>) -> Result<u8, Failure> {
    let name = Name::new(exec.name.as_str())?;
    let words = exec.words();
    let store = Store::open(store)?;
    let (sender, events) = channel();
    let unblocked = signals::listen(sender.clone())?;
    // What lingers for `--at-least` is released, so nobody can inherit it.
    let inherit = !exec.close && exec.at_least.is_none();
    let wish = Wish {
        name,
        patience: exec.patience(),
        ttl: exec.ttl,
        at_least: exec.at_least,
        label: exec.label.clone(),
    };
    let holding = wait_for_lock(store, wish, &sender, &events).map_err(|error| refused(error, exec))?;
    let inherit = inherit && holding.descriptor().is_some();
    let outcome = run_holding(&*holding, &words, &exec.name, inherit, unblocked, sender, &events)?;
    let early = outcome.ended_early.then_some(LOST);
    let kept = let_go(holding, inherit || !outcome.is_gone);
    match early.or(kept) {
        Some(status) => Err(Failure::silent(status)),
        None => end_like(&outcome),
    }
}

/// Waits on a thread of its own, so that this one can obey signals.
fn wait_for_lock(
    store: Store,
    wish: Wish,
    sender: &Sender<Event>,
    events: &Receiver<Event>,
) -> tenure::Result<Box<dyn Holding>> {
    let answer = sender.clone();
    let started = thread::Builder::new().name("tenure-acquire".into()).spawn(move || {
        // If nobody listens any more, this process has ended.
        let _ = answer.send(Event::Lock(store.take(&wish)));
    });
    if let Err(error) = started {
        return Err(Error::unavailable("no thread can be started").with_source(error));
    }
    for event in events {
        match event {
            Event::Lock(answer) => return answer,
            Event::Signal(signal) => signals::obey(signal),
            Event::Lost | Event::Command(_) => {}
        }
    }
    unreachable!("the thread that waits for signals keeps the channel open")
}

fn refused(error: Error, exec: &Exec) -> Failure {
    let limit = match exec.patience() {
        _ if !(error.is_contended() || error.is_timed_out()) => return error.into(),
        // Out of time because the store did not answer: nobody knows whether the lock is taken.
        _ if std::error::Error::source(&error).is_some() => {
            return Failure::new(UNAVAILABLE, chain(&error));
        }
        Patience::AtMost(limit) => format!(" after {}", rough(limit)),
        Patience::No | Patience::Forever => String::new(),
    };
    let status = exec.busy_status.unwrap_or(BUSY);
    if exec.quiet {
        return Failure::silent(status);
    }
    let name = &exec.name;
    Failure::new(status, format!("{name:?} is still held by somebody else{limit}; see `tenure status`"))
}

fn run_holding(
    holding: &dyn Holding,
    words: &[OsString],
    name: &str,
    inherit: bool,
    unblocked: SigSet,
    sender: Sender<Event>,
    events: &Receiver<Event>,
) -> Result<Outcome, Failure> {
    let terminal = Terminal::open();
    let foreground = terminal.is_wanted();
    let plan = Plan {
        words,
        variables: [("TENURE_FENCE", holding.fence().to_string()), ("TENURE_LOCK", name.to_owned())],
        foreground,
        unblocked,
        descriptor: holding.descriptor().filter(|_| inherit),
    };
    let lost = sender.clone();
    // After the end nobody listens.
    holding.on_lost(Box::new(move |_| drop(lost.send(Event::Lost))));
    let job = Job::start(&plan, sender)?;
    Ok(Supervision::new(holding, job, &terminal, foreground, events).run())
}

/// Releases the lock, or leaves it to those who inherited it; the status if it was lost before.
fn let_go(holding: Box<dyn Holding>, leave: bool) -> Option<u8> {
    let answer = if leave {
        let answer = holding.verify();
        holding.leave();
        answer
    } else {
        holding.release()
    };
    let error = answer.err()?;
    warn(&chain(&error));
    // Held to the end, but not released: the lease or the end of this process frees it.
    error.is_lost().then_some(LOST)
}

/// The status of a command; if the terminal killed it, whoever waits for this process hears of
/// that too.
fn end_like(outcome: &Outcome) -> Result<u8, Failure> {
    match outcome.command {
        // The system has eight bits for it.
        Ok(WaitStatus::Exited(_, status)) => Ok(u8::try_from(status).unwrap_or(u8::MAX)),
        Ok(WaitStatus::Signaled(_, signal, _)) => {
            if outcome.had_terminal && matches!(signal, Signal::SIGINT | Signal::SIGQUIT) {
                // As if the terminal had sent it to all of them; our own copy is blocked.
                let _ = killpg(getpgrp(), signal);
                signals::obey(signal);
            }
            Ok(u8::try_from(128 + signal as i32).unwrap_or(u8::MAX))
        }
        Ok(_) | Err(_) => Err(Failure::new(
            SYSTEM,
            "the system does not tell how the command ended; start tenure with SIGCHLD not ignored",
        )),
    }
}
