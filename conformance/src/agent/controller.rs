//! The case's side of an agent.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command as Program, Stdio};
use std::time::Duration;

use tenure_core::{Cause, Fence, Kind, Owner};

use super::command::{Answer, Command, Role, Seen, Turn, Wait, cause_text, kind_text};
use super::{ROLE, signal};
use crate::failure::{Failure, Outcome};
use crate::spec::Spec;
use crate::subject::Options;

/// Another process that has the store open; killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Agent {
    child: Child,
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

/// A lock that an agent got.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Taken {
    pub(crate) fence: Fence,
    pub(crate) owner: Owner,
}

impl Agent {
    /// Starts this program again as an agent of a suite, and waits until it has opened the store.
    pub(crate) fn start(suite: &str, spec: &Spec) -> Outcome<Self> {
        let role = serde_json::to_string(&Role { suite: suite.into(), spec: spec.clone() })?;
        let mut child = Program::new(std::env::current_exe()?)
            .env(ROLE, role)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let commands = child.stdin.take();
        let answers = child.stdout.take().ok_or_else(|| Failure::new("an agent has no output"))?;
        let mut agent = Self { child, commands, answers: BufReader::new(answers) };
        agent.answer()?.done()?;
        Ok(agent)
    }

    pub(crate) fn ask(&mut self, command: &Command) -> Outcome<Answer> {
        self.send(command)?;
        self.answer()
    }

    /// Says what to do, without waiting for the answer.
    pub(crate) fn send(&mut self, command: &Command) -> Outcome {
        let commands = self.commands.as_mut().ok_or_else(|| Failure::new("an agent has no input"))?;
        writeln!(commands, "{}", serde_json::to_string(command)?)?;
        commands.flush()?;
        Ok(())
    }

    pub(crate) fn answer(&mut self) -> Outcome<Answer> {
        let mut line = String::new();
        match self.answers.read_line(&mut line)? {
            0 => Err(Failure::new("expected an answer of an agent, saw its end")),
            _ => Ok(serde_json::from_str(&line)?),
        }
    }

    #[track_caller]
    pub(crate) fn take(&mut self, name: &str, options: &Options) -> Outcome<Taken> {
        self.try_acquire(name, options)?.taken()
    }

    pub(crate) fn try_acquire(&mut self, name: &str, options: &Options) -> Outcome<Answer> {
        self.acquire(name, options, Wait::Not)
    }

    pub(crate) fn acquire(&mut self, name: &str, options: &Options, wait: Wait) -> Outcome<Answer> {
        self.ask(&Command::Acquire { name: name.into(), options: options.clone(), wait })
    }

    pub(crate) fn release(&mut self, name: &str) -> Outcome<Answer> {
        self.ask(&Command::Release(name.into()))
    }

    pub(crate) fn renew(&mut self, name: &str) -> Outcome<Answer> {
        self.ask(&Command::Renew(name.into()))
    }

    pub(crate) fn status(&mut self, name: &str) -> Outcome<Seen> {
        match self.ask(&Command::Status(name.into()))? {
            Answer::Seen(seen) => Ok(seen),
            other => Err(Failure::new(format!("expected an agent's status, saw {other:?}"))),
        }
    }

    /// Ends it like `kill -9`.
    pub(crate) fn kill(mut self) -> Outcome {
        signal::kill(&mut self.child)
    }

    /// Stops it where it stands, until it is woken.
    pub(crate) fn stop(&self) -> Outcome {
        signal::stop(&self.child)
    }

    pub(crate) fn wake(&self) -> Outcome {
        signal::wake(&self.child)
    }

    /// Lets it end in an orderly way that releases nothing.
    pub(crate) fn exit(mut self) -> Outcome {
        self.send(&Command::Exit)?;
        self.child.wait()?;
        Ok(())
    }

    /// How long an agent may need to get going after it was woken.
    pub(crate) const WAKING: Duration = Duration::from_secs(5);
}

impl Drop for Agent {
    fn drop(&mut self) {
        // Best effort: an agent whose input has ended also ends by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Answer {
    #[track_caller]
    pub(crate) fn done(self) -> Outcome {
        match self {
            Self::Done => Ok(()),
            other => Err(other.unexpected("expected an agent to succeed")),
        }
    }

    #[track_caller]
    pub(crate) fn taken(self) -> Outcome<Taken> {
        match self {
            Self::Taken { fence, owner } => Ok(Taken { fence: Fence::new(fence), owner }),
            other => Err(other.unexpected("expected an agent to get the lock")),
        }
    }

    /// Expects an error of a kind; returns its text.
    #[track_caller]
    pub(crate) fn refused(self, expected: Kind) -> Outcome<String> {
        match self {
            Self::Refused { kind, message, .. } if kind == kind_text(expected) => Ok(message),
            other => Err(other.unexpected(&format!("expected an agent to see {expected:?}"))),
        }
    }

    /// Expects that the lock was lost for this reason.
    #[track_caller]
    pub(crate) fn lost(self, expected: &[Cause]) -> Outcome {
        match self {
            Self::Refused { cause: Some(cause), .. } | Self::Cause(cause)
                if expected.iter().any(|known| cause_text(*known) == cause) =>
            {
                Ok(())
            }
            other => {
                Err(other.unexpected(&format!("expected an agent to have lost the lock by {expected:?}")))
            }
        }
    }

    /// A failure by an answer that should not have been; see [`Failure::unexpected`].
    #[track_caller]
    fn unexpected(&self, what: &str) -> Failure {
        let late = match self {
            Self::Refused { cause: Some(cause), .. } | Self::Cause(cause) => {
                *cause == cause_text(Cause::Expired)
            }
            Self::Refused { message, .. } => message.contains("already run out"),
            _ => false,
        };
        Failure::new(format!("{what}, saw {self:?}")).late_if(late)
    }

    #[track_caller]
    pub(crate) fn won(self) -> Outcome<Vec<usize>> {
        match self {
            Self::Won(won) => Ok(won),
            other => Err(Failure::new(format!("expected what an agent won, saw {other:?}"))),
        }
    }

    #[track_caller]
    pub(crate) fn turns(self) -> Outcome<Vec<Turn>> {
        match self {
            Self::Turns(turns) => Ok(turns),
            other => Err(Failure::new(format!("expected when an agent had its lock, saw {other:?}"))),
        }
    }

    pub(crate) fn fences(self) -> Outcome<Vec<Fence>> {
        match self {
            Self::Fences(fences) => Ok(fences.into_iter().map(Fence::new).collect()),
            other => Err(Failure::new(format!("expected an agent's fences, saw {other:?}"))),
        }
    }
}
