//! `tenure exec`: gets the lock, runs the command, and sees to it that nothing runs without it.

use std::os::fd::AsFd;
use std::process::{Child, ExitCode};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill, killpg, raise};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, getpgrp};
use tenure::{Error, Moment, Result};

use crate::command::{hand_terminal, has_terminal, start};
use crate::held::{Holding, acquire};
use crate::store::Store;
use crate::{args, report, status};

/// Signals that are passed on to the command.
const PASSED: &[Signal] = &[
    Signal::SIGINT,
    Signal::SIGTERM,
    Signal::SIGHUP,
    Signal::SIGQUIT,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGALRM,
    Signal::SIGWINCH,
    Signal::SIGTSTP,
    Signal::SIGCONT,
];

/// How long a command gets between SIGTERM and SIGKILL, at most.
const GRACE: Duration = Duration::from_secs(5);

/// How long before the end of the lease SIGKILL comes, at most.
const MARGIN: Duration = Duration::from_millis(500);

pub(crate) fn run(args: args::Exec) -> Result<ExitCode> {
    // Before any thread is started, so that no thread but this one gets them.
    let signals = Signals::block()?;
    let held = match wait_for_lock(&args, &signals)? {
        Ok(held) => held,
        Err(signal) => return Ok(die_of(signal)),
    };
    let held = match held {
        Ok(held) => held,
        Err(error) if error.is_contended() || error.is_timed_out() => {
            return Ok(ExitCode::from(args.busy));
        }
        Err(error) => return Err(error),
    };
    let terminal = has_terminal();
    let mut child = start(&args.command, &args.name, &*held, !args.close, &signals.blocked)?;
    let ended = Watching::new(&args, &*held, &child, terminal)?.until_ended(&signals);
    if terminal {
        hand_terminal(getpgrp());
    }
    let (status, lost) = ended?;
    // The child is reaped; this tells the standard library so.
    let _ = child.try_wait();
    finish(&args, held, lost).map(|own| own.unwrap_or_else(|| ExitCode::from(status)))
}

/// Ends the hold; an exit status of our own, if the lock was lost.
fn finish(args: &args::Exec, held: Box<dyn Holding>, lost: bool) -> Result<Option<ExitCode>> {
    let inherited = held.descriptor().is_some() && !args.close;
    if inherited && args.at_least.is_none() && !lost {
        held.leave();
        return Ok(None);
    }
    match held.release() {
        Ok(()) => Ok(None),
        Err(error) if error.is_lost() => {
            report(&error);
            Ok(Some(ExitCode::from(status::LOST)))
        }
        Err(error) => {
            // The command did its work under the lock; the end of the lease frees it.
            report(&error);
            Ok(None)
        }
    }
}

type Acquired = Result<Box<dyn Holding>>;

/// Gets the lock in a thread of its own, so that signals end the wait; the signal, if one did.
fn wait_for_lock(args: &args::Exec, signals: &Signals) -> Result<std::result::Result<Acquired, Signal>> {
    let store = Store::open(&args.store)?;
    let ready = bell()?;
    std::thread::scope(|scope| {
        let (tell, told) = mpsc::channel();
        let rung = ready.clone();
        scope.spawn(move || {
            let _ = tell.send(acquire(store, args));
            let _ = rung.write(1);
        });
        loop {
            sleep(signals, &ready, None);
            if let Ok(acquired) = told.try_recv() {
                return Ok(Ok(acquired));
            }
            while let Some(signal) = signals.next() {
                match signal {
                    Signal::SIGINT | Signal::SIGTERM | Signal::SIGHUP | Signal::SIGQUIT | Signal::SIGALRM => {
                        // Nothing is held; what the thread waits for goes with the process.
                        die_of(signal);
                    }
                    Signal::SIGTSTP => drop(raise(Signal::SIGSTOP)),
                    _ => {}
                }
            }
        }
    })
}

/// Ends this process as the signal would have.
fn die_of(signal: Signal) -> ExitCode {
    let _ = SigSet::from(signal).thread_swap_mask(SigmaskHow::SIG_UNBLOCK);
    let _ = raise(signal);
    // It was ignored when this process was started; then it is not the end.
    ExitCode::from(128 + u8::try_from(signal as i32).unwrap_or(0))
}

/// The signals that this process gets, as a file to be read.
struct Signals {
    file: SignalFd,
    /// Those that were not blocked before.
    blocked: Vec<Signal>,
}

impl Signals {
    fn block() -> Result<Self> {
        let mut wanted: SigSet = PASSED.iter().copied().collect();
        wanted.add(Signal::SIGCHLD);
        let mut all = wanted;
        // Taking the terminal back must not stop this process.
        all.add(Signal::SIGTTOU);
        let before = all.thread_swap_mask(SigmaskHow::SIG_BLOCK).map_err(failed)?;
        let blocked = all.iter().filter(|signal| !before.contains(*signal)).collect();
        let file = SignalFd::with_flags(&wanted, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK);
        Ok(Self { file: file.map_err(failed)?, blocked })
    }

    fn next(&self) -> Option<Signal> {
        let read = self.file.read_signal().ok().flatten()?;
        i32::try_from(read.ssi_signo).ok().and_then(|number| Signal::try_from(number).ok())
    }
}

/// A command that runs under a lock.
struct Watching<'a> {
    held: &'a dyn Holding,
    group: Pid,
    terminal: bool,
    lost: Arc<EventFd>,
    grace: Duration,
    margin: Duration,
    ending: Option<Ending>,
}

/// The command is being ended because the lock is lost, or about to be.
#[derive(Clone, Copy)]
struct Ending {
    kill_at: Moment,
    killed: bool,
}

impl<'a> Watching<'a> {
    fn new(args: &args::Exec, held: &'a dyn Holding, child: &Child, terminal: bool) -> Result<Self> {
        let lost = bell()?;
        let ring = lost.clone();
        held.on_lost(Box::new(move |_| {
            let _ = ring.write(1);
        }));
        let lease = args.ttl.or_else(|| held.deadline().map(|deadline| deadline.since(Moment::now())));
        let group =
            Pid::from_raw(i32::try_from(child.id()).map_err(|_| Error::unavailable("a strange process id"))?);
        Ok(Self {
            held,
            group,
            terminal,
            lost,
            grace: lease.map_or(GRACE, |lease| GRACE.min(lease / 3)),
            margin: lease.map_or(MARGIN, |lease| MARGIN.min(lease / 6)),
            ending: None,
        })
    }

    /// Passes signals on, and watches the lock, until the command has ended; its exit status, and
    /// whether the lock was lost. After a loss, nothing of its process group lives on.
    fn until_ended(&mut self, signals: &Signals) -> Result<(u8, bool)> {
        let mut ended = None;
        loop {
            if ended.is_none() {
                ended = self.reap()?;
            }
            let now = Moment::now();
            let next = self.look_after_lock(now);
            if let Some(status) = ended
                && (self.ending.is_none() || !self.group_lives())
            {
                return Ok((status, self.ending.is_some()));
            }
            // The rest of a group that is being ended sends no signal when it ends.
            let next = if ended.is_some() { Some(now + Duration::from_millis(5)) } else { next };
            sleep(signals, &self.lost, next);
            while let Some(signal) = signals.next() {
                if signal != Signal::SIGCHLD {
                    let _ = killpg(self.group, signal);
                }
            }
        }
    }

    /// Ends the command in time if the lock is lost, or cannot be renewed; when to look again.
    fn look_after_lock(&mut self, now: Moment) -> Option<Moment> {
        let deadline = self.held.deadline();
        if self.ending.is_none() {
            let lost = !self.held.status().is_believed();
            let last_call = deadline.map(|deadline| deadline - self.grace);
            if !lost && last_call.is_none_or(|last_call| now < last_call) {
                return last_call;
            }
            eprintln!("tenure: the lock is lost or cannot be renewed; ending the command");
            let _ = killpg(self.group, Signal::SIGTERM);
            // A stopped command could not act on it.
            let _ = killpg(self.group, Signal::SIGCONT);
            let before_end = deadline.map_or(Moment::FAR, |deadline| deadline - self.margin);
            self.ending = Some(Ending { kill_at: before_end.min(now + self.grace), killed: false });
        }
        let ending = self.ending.as_mut()?;
        if now >= ending.kill_at && !ending.killed {
            let _ = killpg(self.group, Signal::SIGKILL);
            ending.killed = true;
        }
        (!ending.killed).then_some(ending.kill_at)
    }

    fn group_lives(&self) -> bool {
        killpg(self.group, None).is_ok()
    }

    /// The exit status of the command, if it has ended. A command that is stopped at the terminal
    /// stops this process too.
    fn reap(&self) -> Result<Option<u8>> {
        let flags = WaitPidFlag::WNOHANG | WaitPidFlag::WUNTRACED;
        match waitpid(self.group, Some(flags)).map_err(failed)? {
            WaitStatus::Exited(_, status) => Ok(Some(u8::try_from(status & 0xff).unwrap_or(u8::MAX))),
            WaitStatus::Signaled(_, signal, _) => Ok(Some(128 + u8::try_from(signal as i32).unwrap_or(0))),
            WaitStatus::Stopped(..) if self.terminal => {
                hand_terminal(getpgrp());
                let _ = kill(Pid::this(), Signal::SIGSTOP);
                // Continued by the shell.
                hand_terminal(self.group);
                let _ = killpg(self.group, Signal::SIGCONT);
                Ok(None)
            }
            _ => Ok(None),
        }
    }
}

/// Sleeps until a signal comes, the bell rings, or the time is there.
fn sleep(signals: &Signals, bell: &EventFd, until: Option<Moment>) {
    let timeout = match until {
        None => PollTimeout::NONE,
        Some(until) => {
            let left = until.since(Moment::now()) + Duration::from_micros(999);
            PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
        }
    };
    let mut fds =
        [PollFd::new(signals.file.as_fd(), PollFlags::POLLIN), PollFd::new(bell.as_fd(), PollFlags::POLLIN)];
    let _ = poll(&mut fds, timeout);
    let _ = bell.read();
}

fn bell() -> Result<Arc<EventFd>> {
    EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK).map(Arc::new).map_err(failed)
}

fn failed(errno: nix::errno::Errno) -> Error {
    Error::unavailable("the system refused what a command needs").with_source(std::io::Error::from(errno))
}
