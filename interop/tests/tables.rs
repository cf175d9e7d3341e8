//! What holds between keys of Django's cache in a database and our locks in the same table, with the real Django.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};
use std::time::Duration;

use tenure_core::{Lock, Settings};
use tenure_db::{ForeignLocks, ForeignTable};
use tenure_servers::{MariaDb, Outcome, Postgres, Stop, mariadb, postgres};

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

/// What Django keeps its cache in.
enum Server {
    Postgres(Postgres),
    MariaDb(MariaDb),
}

impl Server {
    fn all() -> Outcome<[Self; 2]> {
        Ok([Self::Postgres(postgres()?), Self::MariaDb(mariadb()?)])
    }

    fn url(&self) -> String {
        match self {
            Self::Postgres(server) => server.url(),
            Self::MariaDb(server) => server.url(),
        }
    }

    /// As Django calls it: engine, host, port, user and database.
    fn words(&self) -> [String; 5] {
        let (engine, port, user, database) = match self {
            Self::Postgres(server) => ("postgresql", server.port(), "postgres", "postgres"),
            Self::MariaDb(server) => ("mysql", server.port(), "root", "test"),
        };
        [engine.into(), "127.0.0.1".into(), port.to_string(), user.into(), database.into()]
    }

    fn sql(&self, sql: &str) -> Outcome<String> {
        Ok(match self {
            Self::Postgres(server) => server.sql(sql)?,
            Self::MariaDb(server) => server.sql(sql)?,
        })
    }
}

/// Django in a process of its own, and a table that it made.
struct Django {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    server: Server,
    locks: ForeignLocks,
}

impl Django {
    fn each(check: impl Fn(Self) -> Outcome) -> Outcome {
        Server::all()?.into_iter().try_for_each(|server| check(Self::start(server)?))
    }

    fn start(server: Server) -> Outcome<Self> {
        let python = tenure_interop::python("django5")?;
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/python/tables.py");
        let mut command = Command::new(python);
        command.arg(script).args(server.words()).arg("cache_locks");
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
        let day = match &self.server {
            Server::Postgres(_) => "interval '1 day'",
            Server::MariaDb(_) => "INTERVAL 1 DAY",
        };
        self.server.sql(&format!("UPDATE cache_locks SET expires = expires - {day}"))?;
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
    Django::each(what_is_alive_is_denied)
}

fn what_is_alive_is_denied(mut django: Django) -> Outcome {
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
    Django::each(a_late_owner_here_frees_nothing)
}

fn a_late_owner_here_frees_nothing(mut django: Django) -> Outcome {
    let held = Lock::new(&django.locks, "late").try_acquire()?;
    django.pass()?;
    is("Django after a lease here", django.ask("add late them 60")?)?;
    is("a late renewal", held.renew().is_err_and(|error| error.is_lost()))?;
    is("a late release", held.release().is_err_and(|error| error.is_lost()))?;
    is("Django's key", django.ask("owner late them")?)
}

/// What Django cannot unpickle is an error of its own, and takes its page down.
fn each_reads_what_the_other_wrote() -> Outcome {
    Django::each(each_reads_the_others)
}

fn each_reads_the_others(mut django: Django) -> Outcome {
    let held = Lock::new(&django.locks, "caf\u{e9}:1").try_acquire()?;
    is("another's value", !django.ask("owner caf\u{e9}:1 them")?)?;
    // The text after the header of the pickle is the value that Django reads.
    let owner = django.server.sql(match &django.server {
        Server::Postgres(_) => {
            "SELECT convert_from(substring(decode(value, 'base64') FROM 14 FOR 32), 'UTF8') FROM cache_locks"
        }
        Server::MariaDb(_) => "SELECT SUBSTRING(FROM_BASE64(value) FROM 14 FOR 32) FROM cache_locks",
    })?;
    is("the owner as Django reads it", django.ask(&format!("owner caf\u{e9}:1 {owner}"))?)?;
    let key = django.server.sql("SELECT cache_key FROM cache_locks")?;
    is("the key", key == "shop:2:lock:caf\u{e9}:1")?;
    Ok(held.release()?)
}

fn is(what: &str, is: bool) -> Outcome {
    if is { Ok(()) } else { Err(Stop::failed(format!("{what} is not as it must be"))) }
}
