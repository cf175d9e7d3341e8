//! Databases do what tests ask of them.

use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use tenure_servers::{MariaDb, Outcome, PgBouncer, Postgres, Stop, mariadb, postgres};

fn main() -> ExitCode {
    tenure_servers::run(
        "servers",
        tenure_servers::tests![
            postgres_keeps_what_it_committed_unless_it_is_emptied,
            postgres_forgets_what_it_committed_asynchronously_when_it_is_killed,
            a_stopped_postgres_answers_nothing_until_it_goes_on,
            a_replica_follows_and_takes_no_writes,
            pgbouncer_lends_a_connection_for_a_transaction,
            mariadb_keeps_what_it_committed_unless_it_is_emptied,
        ],
    )
}

const MAKE: &str = "CREATE TABLE kept (a int); INSERT INTO kept VALUES (1);";

const READ: &str = "SELECT a FROM kept";

fn postgres_keeps_what_it_committed_unless_it_is_emptied() -> Outcome {
    let mut server = postgres()?;
    server.sql(MAKE)?;
    server.restart()?;
    same(&server.sql(READ)?, "1")?;
    server.quit()?;
    server.start()?;
    same(&server.sql(READ)?, "1")?;
    server.shut_down()?;
    server.start()?;
    same(&server.sql(READ)?, "1")?;
    server.database("Another One")?;
    server.restart_empty()?;
    fails(server.sql(READ), "does not exist")
}

fn postgres_forgets_what_it_committed_asynchronously_when_it_is_killed() -> Outcome {
    let mut server = Postgres::with(&["synchronous_commit=off", "wal_writer_delay=10s"])?;
    server.sql(&format!("{MAKE} SET synchronous_commit=on; UPDATE kept SET a=a"))?;
    server.sql("UPDATE kept SET a=2")?;
    server.restart()?;
    same(&server.sql(READ)?, "1")
}

fn a_stopped_postgres_answers_nothing_until_it_goes_on() -> Outcome {
    let server = postgres()?;
    thread::scope(|scope| {
        let asked = scope.spawn(|| server.sql("SELECT 1 FROM pg_sleep(0.5)"));
        until("psql asks", || {
            let asking = server.sql("SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep%'");
            asking.is_ok_and(|asking| asking == "2")
        })?;
        server.stop()?;
        thread::sleep(Duration::from_secs(1));
        let answered = asked.is_finished();
        server.go_on()?;
        let answer = asked.join().map_err(|_| Stop::failed("psql"))??;
        same(&answer, "1")?;
        if answered { Err(Stop::failed("it answered while it was stopped")) } else { Ok(()) }
    })
}

fn a_replica_follows_and_takes_no_writes() -> Outcome {
    let server = postgres()?;
    let replica = server.replica()?;
    server.sql(MAKE)?;
    until("the replica follows", || replica.sql(READ).is_ok_and(|read| read == "1"))?;
    fails(replica.sql("INSERT INTO kept VALUES (2)"), "read-only")
}

fn pgbouncer_lends_a_connection_for_a_transaction() -> Outcome {
    let server = postgres()?;
    let pooler = PgBouncer::before(&server, 1)?;
    let ask = |text| client(&pooler.url(), text);
    let (first, second) = (ask("SELECT pg_backend_pid()")?, ask("SELECT pg_backend_pid()")?);
    // Two clients, and one connection behind both.
    same(&second, &first)
}

fn mariadb_keeps_what_it_committed_unless_it_is_emptied() -> Outcome {
    let mut server = mariadb()?;
    server.sql(MAKE)?;
    server.restart()?;
    same(&server.sql(READ)?, "1")?;
    server.shut_down()?;
    server.start()?;
    same(&server.sql(READ)?, "1")?;
    server.database("another")?;
    server.restart_empty()?;
    fails(server.sql(READ), "doesn't exist")?;
    drop(server);
    let slow = MariaDb::with(&["--lock-wait-timeout=7"])?;
    same(&slow.sql("SELECT @@lock_wait_timeout")?, "7")
}

fn until(what: &str, is: impl Fn() -> bool) -> Outcome {
    let began = Instant::now();
    while !is() {
        if began.elapsed() > Duration::from_secs(20) {
            return Err(Stop::failed(format!("it takes too long until {what}")));
        }
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

fn client(url: &str, text: &str) -> std::io::Result<String> {
    let output = std::process::Command::new("psql").args(["-XAtq", "-d", url, "-c", text]).output()?;
    Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
}

fn same(is: &str, must_be: &str) -> Outcome {
    if is == must_be && !is.is_empty() {
        return Ok(());
    }
    Err(Stop::failed(format!("{is:?} instead of {must_be:?}")))
}

fn fails(answer: std::io::Result<String>, word: &str) -> Outcome {
    match answer {
        Err(error) if error.to_string().contains(word) => Ok(()),
        other => Err(Stop::failed(format!("{other:?} instead of an error about {word:?}"))),
    }
}
