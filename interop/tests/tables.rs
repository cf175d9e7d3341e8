//! What holds between keys of Django's cache in a database and our locks in the same table, with the real Django.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};
use std::time::Duration;

use tenure_core::{Lock, Settings};
use tenure_db::{ForeignLocks, ForeignTable};
use tenure_servers::{Outcome, Postgres, Stop, postgres};

fn main() -> ExitCode {
    tenure_servers::run(
        "interop",
        tenure_servers::tests![
            what_is_alive_is_denied_on_both_sides,
            a_late_owner_here_frees_nothing_of_djangos,
            each_reads_what_the_other_wrote,
        ],
    )
}

/// Django in a process of its own, and a table that it made.
struct Django {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    server: Postgres,
    locks: ForeignLocks,
}

impl Django {
    fn start() -> Outcome<Self> {
        let python = tenure_interop::python("django5")?;
        let server = postgres()?;
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/python/tables.py");
        let mut command = Command::new(python);
        command.args([script, "127.0.0.1", &server.port().to_string(), "postgres", "cache_locks"]);
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let pipes = (process.stdin.take(), process.stdout.take());
        let (Some(mut input), Some(output)) = pipes else { return Err(Stop::failed("no pipes")) };
        let mut output = BufReader::new(output);
        is("a table of Django's", ask(&mut input, &mut output, "create")?)?;
        let table =
            ForeignTable::DjangoCache { table: "cache_locks".into(), key_prefix: "shop".into(), version: 2 };
        let locks = ForeignLocks::connect_with(&server.url(), &table, Settings::default())?;
        Ok(Self { process, input, output, server, locks })
    }

    fn ask(&mut self, line: &str) -> Outcome<bool> {
        ask(&mut self.input, &mut self.output, line)
    }

    /// As if all that is there had expired; a row lives to the end of its last second.
    fn pass(&self) -> Outcome {
        self.server.sql("UPDATE cache_locks SET expires = expires - interval '1 day'")?;
        Ok(())
    }
}

impl Drop for Django {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn ask(input: &mut ChildStdin, output: &mut BufReader<ChildStdout>, line: &str) -> Outcome<bool> {
    writeln!(input, "{line}")?;
    let mut answer = String::new();
    output.read_line(&mut answer)?;
    match answer.trim_end() {
        "yes" => Ok(true),
        "no" => Ok(false),
        other => Err(Stop::failed(format!("Django says {other:?} to {line:?}"))),
    }
}

fn what_is_alive_is_denied_on_both_sides() -> Outcome {
    let mut django = Django::start()?;
    let lock = Lock::new(&django.locks, "report");
    for _ in 0..2 {
        let held = lock.try_acquire()?;
        is("Django beside an owner here", !django.ask("add report them 60")?)?;
        held.renew()?;
        held.release()?;
        is("Django after a release here", django.ask("add report them 60")?)?;
        let denied = lock.try_acquire();
        let left = denied.as_ref().err().and_then(tenure_core::Error::retry_after).unwrap_or_default();
        is("an owner here beside Django", denied.is_err_and(|error| error.is_contended()))?;
        is("what is left of a minute", left > Duration::from_secs(30) && left < Duration::from_secs(62))?;
        is("a deletion", django.ask("delete report")?)?;
    }
    // What has expired is free on both sides.
    let held = lock.try_acquire()?;
    django.pass()?;
    is("Django after a lease here", django.ask("add report them 60")?)?;
    django.pass()?;
    let next = lock.try_acquire()?;
    is("a fence that grows", next.fence() > held.fence())
}

fn a_late_owner_here_frees_nothing_of_djangos() -> Outcome {
    let mut django = Django::start()?;
    let held = Lock::new(&django.locks, "late").try_acquire()?;
    django.pass()?;
    is("Django after a lease here", django.ask("add late them 60")?)?;
    is("a late renewal", held.renew().is_err_and(|error| error.is_lost()))?;
    is("a late release", held.release().is_err_and(|error| error.is_lost()))?;
    is("Django's key", django.ask("owner late them")?)
}

/// What Django cannot unpickle is an error of its own, and takes its page down.
fn each_reads_what_the_other_wrote() -> Outcome {
    let mut django = Django::start()?;
    let held = Lock::new(&django.locks, "caf\u{e9}:1").try_acquire()?;
    is("another's value", !django.ask("owner caf\u{e9}:1 them")?)?;
    // The text after the header of the pickle is the value that Django reads.
    let text =
        "SELECT convert_from(substring(decode(value, 'base64') FROM 14 FOR 32), 'UTF8') FROM cache_locks";
    let owner = django.server.sql(text)?;
    is("the owner as Django reads it", django.ask(&format!("owner caf\u{e9}:1 {owner}"))?)?;
    let key = django.server.sql("SELECT cache_key FROM cache_locks")?;
    is("the key", key == "shop:2:lock:caf\u{e9}:1")?;
    Ok(held.release()?)
}

fn is(what: &str, is: bool) -> Outcome {
    if is { Ok(()) } else { Err(Stop::failed(format!("{what} is not as it must be"))) }
}
