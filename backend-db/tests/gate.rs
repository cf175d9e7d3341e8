//! A write of a holder that was paused for too long is refused by the row that it is for.

#![allow(clippy::print_stdout, reason = "the holder is another process, and says how it goes")]

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use schema::orders;
use tenure_core::{Held, Lock, Result};
use tenure_db::{Db, Durable, Gate};
use tenure_servers::{Outcome, Process, Stop};

mod schema {
    #![allow(missing_docs, reason = "the macro makes public items")]
    diesel::table! {
        orders { id -> BigInt, total -> BigInt, fence -> BigInt, }
    }
}

/// What stands in the environment of a process that is to hold the lock: where the database is.
const PLACE: &str = "TENURE_GATE_PLACE";

/// And whether its write asks the gate.
const ASKS: &str = "TENURE_GATE_ASKS";

fn main() -> ExitCode {
    if let Ok(place) = std::env::var(PLACE) {
        return match hold(&place, std::env::var(ASKS).is_ok()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        };
    }
    tenure_servers::run(
        "sqlite",
        tenure_servers::tests![
            a_paused_holders_write_is_refused,
            without_the_gate_a_paused_holders_write_goes_through,
            a_refused_write_changes_nothing_and_is_a_loss,
            what_enters_a_gate_first_passes_or_fails_as_a_whole,
            a_database_that_does_not_wait_for_the_disk_is_not_durable,
        ],
    )
}

fn a_paused_holders_write_is_refused() -> Outcome {
    let (said, total) = paused(true)?;
    same("what the paused holder saw", said.as_str(), "refused")?;
    same("the total", total, 2)
}

/// The danger is real: this is what the gate is for.
fn without_the_gate_a_paused_holders_write_goes_through() -> Outcome {
    let (said, total) = paused(false)?;
    same("what the paused holder saw", said.as_str(), "written")?;
    same("the total", total, 1)
}

/// A holder is stopped until its lease is over and another has written, and then goes on to write 1. What it
/// said about that, and what stands there.
fn paused(asks: bool) -> Outcome<(String, i64)> {
    let place = tempfile::tempdir()?;
    let (store, mut connection) = open(&place.path().join("app.db").to_string_lossy())?;
    let mut command = Command::new(std::env::current_exe()?);
    command.env(PLACE, place.path().join("app.db")).stdin(Stdio::piped()).stdout(Stdio::piped());
    if asks {
        command.env(ASKS, "1");
    }
    let mut child: Child = command.spawn()?;
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
    let child = Process::from(child);
    let (Some(mut stdin), Some(stdout)) = (stdin, stdout) else { return Err(Stop::failed("no pipes")) };
    let mut lines = BufReader::new(stdout).lines();
    let mut line = || lines.next().unwrap_or_else(|| Err(std::io::ErrorKind::UnexpectedEof.into()));
    same("the first line", line()?.as_str(), "held")?;
    child.stop()?;
    let held =
        Lock::new(&store, "order:7").ttl(Duration::from_secs(10)).acquire_for(Duration::from_secs(20))?;
    write(&held, true, 2, &mut connection)?;
    child.go_on()?;
    stdin.write_all(b"go on\n")?;
    let said = line()?;
    Ok((said, total(&mut connection)?))
}

/// Holds the lock, is paused, and writes as if nothing had happened.
fn hold(place: &str, asks: bool) -> Outcome {
    let (store, mut connection) = open(place)?;
    let held = Lock::new(&store, "order:7").ttl(Duration::from_millis(500)).try_acquire()?;
    println!("held");
    std::io::stdin().read_line(&mut String::new())?;
    match write(&held, asks, 1, &mut connection) {
        Ok(()) => println!("written"),
        Err(error) if error.is_lost() => println!("refused"),
        Err(error) => println!("{error:?}"),
    }
    Ok(())
}

fn write(
    held: &Lock<Durable, Held>,
    asks: bool,
    total: i64,
    connection: &mut SqliteConnection,
) -> Result<()> {
    let (order, change) = (orders::table.find(7), orders::total.eq(total));
    if asks {
        return Gate::of(held).update(order, orders::fence, change, connection).map(drop);
    }
    let written = diesel::update(order).set(change).execute(connection);
    written.map(drop).map_err(|error| tenure_core::Error::unavailable("no write").with_source(error))
}

fn a_refused_write_changes_nothing_and_is_a_loss() -> Outcome {
    let place = tempfile::tempdir()?;
    let (store, mut connection) = open(&place.path().join("app.db").to_string_lossy())?;
    let lock = Lock::new(&store, "order:7");
    let old = Gate::of(&lock.try_acquire()?);
    let held = lock.try_acquire()?;
    let new = Gate::of(&held);
    let order = orders::table.find(7);
    let mut change =
        |gate: Gate, total: i64| gate.update(order, orders::fence, orders::total.eq(total), &mut connection);
    same("the rows of a first write", change(old, 1)?, 1)?;
    same("the rows of a second write of one holder", change(old, 2)?, 1)?;
    same("the rows of the next holder", change(new, 3)?, 1)?;
    lost(change(old, 4))?;
    lost(old.delete(order, orders::fence, &mut connection))?;
    lost(old.enter(order, orders::fence, &mut connection))?;
    lost(new.update(orders::table.find(8), orders::fence, orders::total.eq(0), &mut connection))?;
    same("the total", total(&mut connection)?, 3)?;
    // Statements of one's own.
    let mine = diesel::update(orders::table.filter(new.admits(orders::fence)))
        .set((orders::total.eq(5), new.mark(orders::fence)));
    same("the rows of a statement of one's own", mine.execute(&mut connection).map_err(failed)?, 1)?;
    same("the rows that are deleted", new.delete(order, orders::fence, &mut connection)?, 1)
}

fn what_enters_a_gate_first_passes_or_fails_as_a_whole() -> Outcome {
    let place = tempfile::tempdir()?;
    let (store, mut connection) = open(&place.path().join("app.db").to_string_lossy())?;
    connection.batch_execute("CREATE TABLE lines (id bigint)").map_err(failed)?;
    let lock = Lock::new(&store, "order:7");
    let old = Gate::of(&lock.try_acquire()?);
    let new = Gate::of(&lock.try_acquire()?);
    let mut all = |gate: Gate| {
        connection.transaction::<_, Failed, _>(|connection| {
            connection.batch_execute("INSERT INTO lines VALUES (1)")?;
            gate.enter(orders::table.find(7), orders::fence, connection)?;
            Ok(())
        })
    };
    all(new).map_err(failed)?;
    match all(old) {
        Err(Failed::Lock(error)) if error.is_lost() => {}
        other => return Err(Stop::failed(format!("an old holder's transaction was answered {other:?}"))),
    }
    let lines = diesel::dsl::sql::<diesel::sql_types::BigInt>("SELECT count(*) FROM lines");
    same("the lines", lines.get_result::<i64>(&mut connection).map_err(failed)?, 1)
}

#[derive(Debug)]
#[expect(dead_code, reason = "shown when a test fails")]
enum Failed {
    Lock(tenure_core::Error),
    Database(diesel::result::Error),
}

impl From<tenure_core::Error> for Failed {
    fn from(error: tenure_core::Error) -> Self {
        Self::Lock(error)
    }
}

impl From<diesel::result::Error> for Failed {
    fn from(error: diesel::result::Error) -> Self {
        Self::Database(error)
    }
}

fn a_database_that_does_not_wait_for_the_disk_is_not_durable() -> Outcome {
    let place = tempfile::tempdir()?;
    // A file of our own is in WAL mode.
    let store = Db::connect(&format!("sqlite:{}", place.path().join("locks.db").display()))?;
    match store.durable() {
        Err(error) if error.is_misconfigured() && error.to_string().contains("on disk") => Ok(()),
        other => Err(Stop::failed(format!("a file in WAL mode is {other:?}"))),
    }
}

/// Opens the locks and the records, which are in one file that is the application's.
fn open(place: &str) -> Outcome<(Durable, SqliteConnection)> {
    let mut connection = SqliteConnection::establish(place).map_err(failed)?;
    connection
        .batch_execute(
            "PRAGMA busy_timeout = 5000;
             CREATE TABLE IF NOT EXISTS orders (
                 id bigint PRIMARY KEY, total bigint NOT NULL, fence bigint NOT NULL DEFAULT 0
             );
             INSERT OR IGNORE INTO orders (id, total) VALUES (7, 0);",
        )
        .map_err(failed)?;
    Ok((Db::connect(&format!("sqlite:{place}"))?.durable()?, connection))
}

fn total(connection: &mut SqliteConnection) -> Outcome<i64> {
    orders::table.find(7).select(orders::total).get_result(connection).map_err(failed)
}

fn lost(answer: Result<usize>) -> Outcome {
    match answer {
        Err(error) if error.is_lost() => Ok(()),
        other => Err(Stop::failed(format!("expected a loss, saw {other:?}"))),
    }
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, is: T, must_be: T) -> Outcome {
    if is == must_be { Ok(()) } else { Err(Stop::failed(format!("{what}: {is:?} instead of {must_be:?}"))) }
}

fn failed(error: impl std::fmt::Debug) -> Stop {
    Stop::failed(format!("{error:?}"))
}
