//! Other processes, which do what they are told.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitCode, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tenure_core::{AnyBackend, Fence, Owner, Result};

use crate::failure::{Failure, Outcome, ensure};
use crate::fork;
use crate::spec::Spec;
use crate::subject::{Subject, TestHeld};

/// Says that this process is an agent, and of which store.
pub(crate) const VARIABLE: &str = "TENURE_CONFORMANCE_AGENT";

/// How long an agent may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Another process that has the store open. Ends with this value.
pub(crate) struct Agent {
    process: Child,
    orders: Option<ChildStdin>,
    answers: Receiver<String>,
}

impl Agent {
    pub(crate) fn start(spec: &Spec) -> Outcome<Self> {
        let mut process = Command::new(std::env::current_exe()?)
            .env(VARIABLE, spec.to_text())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let orders = process.stdin.take();
        let output = process.stdout.take().ok_or_else(|| Failure::new("the agent has no output"))?;
        let (tell, answers) = channel();
        thread::spawn(move || {
            BufReader::new(output).lines().map_while(io::Result::ok).try_for_each(|line| tell.send(line))
        });
        Ok(Self { process, orders, answers })
    }

    /// Gives an order without waiting for the answer.
    pub(crate) fn order(&mut self, order: &str) -> Outcome {
        let orders = self.orders.as_mut().ok_or_else(|| Failure::new("the agent was closed"))?;
        writeln!(orders, "{order}")?;
        Ok(())
    }

    pub(crate) fn answer(&self) -> Outcome<Answer> {
        let line = self.answers.recv_timeout(PATIENCE);
        line.map(Answer).map_err(|_| Failure::new("the agent did not answer"))
    }

    pub(crate) fn ask(&mut self, order: &str) -> Outcome<Answer> {
        self.order(order)?;
        self.answer()
    }

    /// Has the agent hold a lock: `how` is `try` or `wait`, and options such as `ttl=300`.
    pub(crate) fn hold(&mut self, name: &str, how: &str) -> Outcome<Fence> {
        let answer = self.ask(&format!("{how} {}", encode(name)))?;
        answer.fence()
    }

    pub(crate) fn signal(&self, signal: Signal) -> Outcome {
        kill(self.pid(), signal)?;
        Ok(())
    }

    /// Kills it, and waits until it is gone.
    pub(crate) fn kill(&mut self) -> Outcome {
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }

    /// Lets it end by itself.
    pub(crate) fn close(mut self) -> Outcome {
        drop(self.orders.take());
        let status = self.process.wait()?;
        ensure!(status.success(), "the agent ended with {status}");
        Ok(())
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.process.id()).unwrap_or(0))
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What an agent answered: `ok WORD..` or `KIND message`.
#[derive(Debug)]
pub(crate) struct Answer(String);

impl Answer {
    pub(crate) fn word(&self, index: usize) -> &str {
        self.0.split(' ').nth(index).unwrap_or("")
    }

    pub(crate) fn is(&self, first: &str) -> bool {
        self.word(0) == first
    }

    pub(crate) fn ok(&self) -> Outcome<&Self> {
        ensure!(self.is("ok"), "the agent answered: {}", self.0);
        Ok(self)
    }

    pub(crate) fn fence(&self) -> Outcome<Fence> {
        Ok(self.ok()?.word(1).parse()?)
    }

    pub(crate) fn owner(&self) -> Outcome<Owner> {
        Ok(self.ok()?.word(2).parse()?)
    }
}

/// Does what the standard input says, until it ends.
pub(crate) fn obey(text: &str, open: impl Fn(&Spec) -> Result<AnyBackend>) -> ExitCode {
    let store = Spec::from_text(text).ok_or_else(|| "no spec".to_owned());
    let store = store.and_then(|spec| open(&spec).map_err(|error| error.to_string()));
    let mut held = HashMap::new();
    for line in io::stdin().lock().lines().map_while(io::Result::ok) {
        let answer = match &store {
            Ok(store) => {
                carry_out(&Subject::from(store.clone()), &mut held, &line).unwrap_or_else(|error| error)
            }
            Err(error) => format!("unopened {error}"),
        };
        let mut output = io::stdout().lock();
        if writeln!(output, "{answer}").and_then(|()| output.flush()).is_err() {
            break;
        }
    }
    ExitCode::SUCCESS
}

fn carry_out(store: &Subject, held: &mut HashMap<String, TestHeld>, line: &str) -> Result<String, String> {
    let mut words = line.split(' ');
    let (order, name) = (words.next().unwrap_or(""), words.next().map(decode).unwrap_or_default());
    let mut order = order.split(',');
    let (verb, options) = (order.next().unwrap_or(""), order.collect::<Vec<_>>());
    let option = |wanted: &str| options.iter().find_map(|option| option.strip_prefix(wanted));
    let millis = |wanted: &str| option(wanted).and_then(|text| text.parse().ok()).map(Duration::from_millis);
    let mut lock = store.lock(&name);
    if let Some(ttl) = millis("ttl=") {
        lock = lock.ttl(ttl);
    }
    if let Some(least) = millis("least=") {
        lock = lock.hold_at_least(least);
    }
    if option("detached").is_some() {
        lock = lock.release_on_drop(false);
    }
    let mut keep = |acquired: Result<TestHeld>| {
        let acquired = acquired.map_err(told)?;
        let answer = format!("ok {} {}", acquired.fence(), acquired.owner());
        held.insert(name.clone(), acquired);
        Ok(answer)
    };
    match verb {
        "try" => return keep(lock.try_acquire()),
        "wait" => return keep(lock.acquire_for(millis("for=").unwrap_or(PATIENCE))),
        "session" => return keep(lock.session()),
        "restore" => {
            let owner = words.next().unwrap_or("").parse().map_err(told)?;
            return keep(lock.restore(owner));
        }
        "release_all" => {
            let errors = tenure_core::release_all();
            return Ok(format!("ok {}", errors.len()));
        }
        "hammer" => {
            let folder = words.next().map(decode).unwrap_or_default();
            let rounds = words.next().and_then(|rounds| rounds.parse().ok()).unwrap_or(0);
            return hammer(store, &name, Path::new(&folder), rounds);
        }
        _ => {}
    }
    let mine = held.remove(&name).ok_or("nothing is held under that name")?;
    match verb {
        "release" => mine.release().map(|()| "ok".into()).map_err(told),
        "drop" => {
            drop(mine);
            Ok("ok".into())
        }
        "status" => {
            let status = format!("ok {:?}", mine.status());
            held.insert(name, mine);
            Ok(status)
        }
        "fork_drop" | "fork_release" => {
            let mut copy = Some(mine);
            let done = fork::in_child(|| match (verb, copy.take()) {
                ("fork_release", Some(copy)) => drop(copy.release()),
                (_, copy) => drop(copy),
            });
            held.extend(copy.map(|mine| (name, mine)));
            if done { Ok("ok".into()) } else { Err("fork failed".into()) }
        }
        other => Err(format!("unknown order {other}")),
    }
}

/// Increments a counter in a file, unprotected but for the lock, and notices company.
fn hammer(store: &Subject, name: &str, folder: &Path, rounds: u32) -> Result<String, String> {
    let (counter, marker, lock) = (folder.join("counter"), folder.join("marker"), store.lock(name));
    let (mut overlaps, mut disorders, mut last) = (0, 0, Fence::ZERO);
    for _ in 0..rounds {
        let held = lock.acquire_for(PATIENCE).map_err(told)?;
        let alone = OpenOptions::new().write(true).create_new(true).open(&marker);
        overlaps += u32::from(alone.is_err());
        disorders += u32::from(held.fence() <= last);
        last = held.fence();
        let read = || fs::read_to_string(&counter).ok()?.trim().parse::<u64>().ok();
        let before = read().unwrap_or(0);
        fs::write(&counter, (before + 1).to_string()).map_err(|error| error.to_string())?;
        drop(alone);
        let _ = fs::remove_file(&marker);
        held.release().map_err(told)?;
    }
    Ok(format!("ok {overlaps} {disorders}"))
}

fn told(error: tenure_core::Error) -> String {
    let cause = error.cause().map(|cause| format!("{cause:?}")).unwrap_or_default();
    format!("{:?}{cause} {error}", error.kind()).replace('\n', " ")
}

pub(crate) fn encode(text: &str) -> String {
    text.bytes().fold(String::from("x"), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

fn decode(hex: &str) -> String {
    let byte = |at: usize| hex.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
    let bytes: Vec<u8> = (1..hex.len()).step_by(2).filter_map(byte).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}
