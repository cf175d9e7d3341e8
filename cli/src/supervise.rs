//! Holding a lock while a command runs: passes signals on, follows stops, and ends the command
//! before its lock ends.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::sys::wait::WaitStatus;
use nix::unistd::getpgrp;
use tenure::{Cause, Moment};

use crate::failure::warn;
use crate::job::Job;
use crate::signals;
use crate::stop::{Grace, Stage, Step};
use crate::store::Holding;
use crate::terminal::Terminal;

/// What happens while a lock is waited for or held.
pub(crate) enum Event {
    /// Somebody sent this process a signal.
    Signal(Signal),
    /// The lock was granted, or will not be.
    Lock(tenure::Result<Box<dyn Holding>>),
    /// The lock was lost: time to look.
    Lost,
    /// The command stopped or ended.
    Command(Result<WaitStatus, Errno>),
}

/// How it ended.
pub(crate) struct Outcome {
    /// The command's end; an error if the system does not tell.
    pub(crate) command: Result<WaitStatus, Errno>,
    /// Whether the command was ended for the sake of the lock.
    pub(crate) ended_early: bool,
    /// Whether nothing of its group is left, as far as it was looked for.
    pub(crate) is_gone: bool,
    /// Whether it had the terminal.
    pub(crate) had_terminal: bool,
}

/// How long to look after killed processes, which the system may need to reap.
const REAPED_WITHIN: Duration = Duration::from_secs(1);

/// The watch over one command.
pub(crate) struct Supervision<'a> {
    holding: &'a dyn Holding,
    job: Job,
    terminal: &'a Terminal,
    had_terminal: bool,
    events: &'a Receiver<Event>,
    grace: Grace,
    stage: Stage,
}

impl<'a> Supervision<'a> {
    pub(crate) fn new(
        holding: &'a dyn Holding,
        job: Job,
        terminal: &'a Terminal,
        had_terminal: bool,
        events: &'a Receiver<Event>,
    ) -> Self {
        let grace = Grace::of(holding.lease());
        Self { holding, job, terminal, had_terminal, events, grace, stage: Stage::Running }
    }

    /// Returns when the command has ended, and, if it was ended for the sake of the lock, when its
    /// whole group has.
    pub(crate) fn run(mut self) -> Outcome {
        let command = loop {
            match self.next_event() {
                Some(Event::Signal(signal)) => self.job.signal(signal),
                Some(Event::Command(Ok(WaitStatus::Stopped(_, by)))) => self.follow_stop(by),
                Some(Event::Command(end)) => break end,
                Some(Event::Lost | Event::Lock(_)) | None => {}
            }
        };
        let ended_early = self.stage != Stage::Running;
        let is_gone = !ended_early || self.end_the_rest();
        let group = self.job.group();
        if self.terminal.belongs_to(group) {
            self.terminal.give_to(getpgrp());
        }
        Outcome { command, ended_early, is_gone, had_terminal: self.had_terminal }
    }

    /// Waits for what happens next, and meanwhile does what the lock asks for.
    fn next_event(&mut self) -> Option<Event> {
        let now = Moment::now();
        let wait = self.look_after_the_lock(now).since(now);
        // The timeout stands still while the machine sleeps, but the lease does not.
        let wait = if self.holding.deadline().is_some() { wait.min(Duration::from_secs(1)) } else { wait };
        match self.events.recv_timeout(wait) {
            Ok(event) => Some(event),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => {
                unreachable!("the thread that waits for signals keeps the channel open")
            }
        }
    }

    /// Tells the command to end, or kills it, if it is time; when to look again.
    fn look_after_the_lock(&mut self, now: Moment) -> Moment {
        loop {
            let lost = self.holding.lost();
            match self.stage.step(self.grace, self.holding.deadline(), lost, now) {
                Step::Wait(until) => return until,
                Step::Tell(kill_at) => {
                    warn(&explain(lost, "told to end"));
                    self.job.signal(Signal::SIGTERM);
                    self.job.signal(Signal::SIGCONT);
                    self.stage = Stage::Told(kill_at);
                }
                Step::Kill => {
                    warn(&explain(lost, "killed"));
                    self.job.signal(Signal::SIGKILL);
                    self.stage = Stage::Killed;
                }
            }
        }
    }

    /// A stopped command: gives it the terminal if that is what it waits for, else stops too, so
    /// that the shell notices. Returns when both are to go on.
    fn follow_stop(&mut self, by: Signal) {
        let asks = matches!(by, Signal::SIGTTIN | Signal::SIGTTOU);
        let in_front = self.terminal.belongs_to(self.job.group());
        if asks && self.terminal.belongs_to(getpgrp()) {
            self.had_terminal = true;
        } else if asks || by == Signal::SIGTSTP || in_front {
            self.had_terminal |= asks || in_front;
            // In a group that no shell looks after, this does nothing, as it would to the command.
            signals::obey(Signal::SIGTSTP);
            if asks && !self.terminal.belongs_to(getpgrp()) {
                // It will ask again at once: not in a tight circle.
                std::thread::sleep(Duration::from_millis(100));
            }
        } else {
            // Somebody stopped just the command, and will continue just that.
            return;
        }
        // The lock may have ended meanwhile.
        self.look_after_the_lock(Moment::now());
        if self.stage == Stage::Killed {
            return;
        }
        if self.had_terminal && self.terminal.belongs_to(getpgrp()) {
            self.terminal.give_to(self.job.group());
        }
        self.job.signal(Signal::SIGCONT);
    }

    /// Gives what is left of the group the rest of its time, and kills it then; whether it is gone.
    fn end_the_rest(&mut self) -> bool {
        let mut reaped_by = Moment::FAR;
        while self.job.is_alive() {
            let now = Moment::now();
            self.look_after_the_lock(now);
            if self.stage == Stage::Killed {
                reaped_by = reaped_by.min(now + REAPED_WITHIN);
            }
            if now >= reaped_by {
                return false;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        true
    }
}

fn explain(lost: Option<Cause>, what: &str) -> String {
    let why = match lost {
        None => "the lock's lease ends soon and the store did not renew it",
        Some(Cause::Expired) => "the lock's lease ended before it was renewed",
        Some(Cause::Forced) => "the lock was broken by an operator",
        Some(_) => "the lock is lost, and somebody else may hold it",
    };
    format!("{why}; the command is {what}")
}
