//! The agent's side: opens the store and does as it is told.

use std::collections::HashMap;
use std::io::{BufRead, Write, stdin, stdout};
use std::process::{Command as Program, Stdio, exit};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use tenure_core::{Error, Moment};

use super::command::{Answer, Command, Role, Turn, Wait, cause_text};
use super::{ROLE, fork};
use crate::counter;
use crate::ctx::{Open, sleep_until};
use crate::driver::TestHeld;
use crate::subject::Subject;

/// Whose agent this process is, by the name of the suite.
pub(crate) fn asked() -> Option<String> {
    let role: Role = serde_json::from_str(&std::env::var(ROLE).ok()?).ok()?;
    Some(role.suite)
}

/// Does not return in a process that was started as an agent of this suite.
pub(crate) fn obey_if_asked(suite: &str, open: &Open) {
    let Ok(role) = std::env::var(ROLE) else { return };
    let Ok(role) = serde_json::from_str::<Role>(&role) else { exit(2) };
    // A program may run several suites; each waits for its own agents.
    if role.suite == suite {
        match open(&role.spec) {
            Ok(store) => serve(Subject::new(store)),
            Err(error) => say(&error.into()),
        }
        exit(0);
    }
}

fn serve(subject: Subject) {
    let (tell, commands) = mpsc::channel();
    // On a thread of its own, so that the agent ends with its controller whatever it waits for.
    thread::spawn(move || {
        for line in stdin().lock().lines().map_while(Result::ok) {
            match serde_json::from_str::<Command>(&line) {
                Ok(command) => drop(tell.send(command)),
                Err(_) => exit(2),
            }
        }
        exit(0);
    });
    say(&Answer::Done);
    let mut held = HashMap::new();
    for command in commands {
        say(&obey(&subject, &mut held, command).unwrap_or_else(Answer::from));
    }
}

fn say(answer: &Answer) {
    let line = serde_json::to_string(answer).expect("an answer can be written as JSON");
    let mut out = stdout().lock();
    if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
        exit(2);
    }
}

fn obey(
    subject: &Subject,
    held: &mut HashMap<String, TestHeld>,
    command: Command,
) -> tenure_core::Result<Answer> {
    Ok(match command {
        Command::Acquire { name, options, wait } => {
            let lock = subject.lock_with(&name, options);
            let taken = match wait {
                Wait::Not => lock.try_acquire(),
                Wait::For(limit) => lock.acquire_for(limit),
                Wait::Ever => lock.acquire(),
            }?;
            keep(held, name, taken)
        }
        Command::Restore { name, options, owner } => {
            let taken = subject.lock_with(&name, options).restore(owner)?;
            keep(held, name, taken)
        }
        Command::Renew(name) => {
            known(held, &name)?.renew()?;
            Answer::Done
        }
        Command::Release(name) => {
            let held = held.remove(&name).ok_or_else(|| unknown(&name))?;
            held.release()?;
            Answer::Done
        }
        Command::Drop(name) => {
            drop(held.remove(&name));
            Answer::Done
        }
        Command::Status(name) => Answer::Seen(known(held, &name)?.status().into()),
        Command::Lost(name) => Answer::Cause(cause_text(known(held, &name)?.lost())),
        Command::Fork { name, deed } => {
            let copy = held.remove(&name).ok_or_else(|| unknown(&name))?;
            let (answer, copy) = fork::fork(&subject.lock(name.as_str()), copy, deed);
            held.insert(name, copy);
            answer
        }
        Command::Spawn(time) => {
            let program = Program::new("sleep")
                .arg(time.as_secs().to_string())
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn();
            program.map(|_| Answer::Done).map_err(|error| Error::unavailable(error.to_string()))?
        }
        Command::Hammer { name, counter, rounds } => {
            let lock = subject.lock(name);
            let mut fences = Vec::new();
            for _ in 0..rounds {
                let held = lock.acquire()?;
                counter::increment(&counter).map_err(|error| Error::unavailable(error.to_string()))?;
                fences.push(held.fence().get());
                held.release()?;
            }
            Answer::Fences(fences)
        }
        Command::Compete { name, time } => {
            let lock = subject.lock(name);
            let end = Moment::now() + time;
            let mut turns = Vec::new();
            while Moment::now() < end {
                match lock.acquire_until(end) {
                    Ok(held) => {
                        let (fence, since) = (held.fence().get(), Moment::now().as_nanos());
                        thread::sleep(Duration::from_millis(1));
                        turns.push(Turn { fence, since, until: Moment::now().as_nanos() });
                        held.release()?;
                    }
                    Err(error) if error.is_timed_out() => {}
                    Err(error) => return Err(error),
                }
            }
            Answer::Turns(turns)
        }
        Command::Race { names, options, at } => {
            sleep_until(Moment::from_nanos(at));
            let mut won = Vec::new();
            for (index, name) in names.into_iter().enumerate() {
                match subject.lock_with(&name, options.clone()).try_acquire() {
                    Ok(taken) => {
                        won.push(index);
                        drop(keep(held, name, taken));
                    }
                    Err(error) if error.is_contended() => {}
                    Err(error) => return Err(error),
                }
            }
            Answer::Won(won)
        }
        Command::ReleaseAll => match subject.store().release_all().into_iter().next() {
            None => Answer::Done,
            Some(error) => error.into(),
        },
        Command::Exit => exit(0),
    })
}

fn keep(held: &mut HashMap<String, TestHeld>, name: String, taken: TestHeld) -> Answer {
    let answer = Answer::Taken { fence: taken.fence().get(), owner: taken.owner() };
    held.insert(name, taken);
    answer
}

fn known<'h>(held: &'h HashMap<String, TestHeld>, name: &str) -> tenure_core::Result<&'h TestHeld> {
    held.get(name).ok_or_else(|| unknown(name))
}

fn unknown(name: &str) -> Error {
    Error::misconfigured(format!("this agent was not told to take {name:?}"))
}
