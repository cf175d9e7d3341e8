//! Transactions of a caller, in the same database.

use std::fmt::Debug;
use std::thread;

use diesel::connection::SimpleConnection;
use diesel::{Connection, MysqlConnection, PgConnection, SqliteConnection};
use tenure_core::Lock;
use tenure_servers::{self as servers, Outcome, Stop, Test};

use crate::support::{Database, LIMIT, open, unavailable};

pub(crate) const TESTS: &[Test] = servers::tests![
    contention_leaves_a_callers_transaction_in_postgres_alone,
    contention_leaves_a_callers_transaction_in_mariadb_alone,
    contention_leaves_a_callers_reading_in_sqlite_alone,
    a_lock_taken_in_a_callers_transaction_is_seen_before_it_ends_and_survives_its_rollback,
    a_row_that_a_transaction_has_locked_is_unavailable_in_time_and_not_busy,
    a_database_file_that_somebody_writes_to_for_long_is_unavailable_in_time,
    the_isolation_that_a_server_defaults_to_does_not_matter,
];

const LEVELS: [&str; 3] = ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"];

fn said<T>(done: Result<T, impl Debug>) -> Outcome<T> {
    done.map_err(|error| Stop::failed(format!("{error:?}")))
}

/// A transaction that reads, is denied a lock, gets it, writes, and ends.
fn goes_on(url: &str, link: &mut impl SimpleConnection, begin: &str) -> Outcome {
    let (store, other) = (open(url)?, open(url)?);
    said(link.batch_execute(begin))?;
    said(link.batch_execute("INSERT INTO own VALUES (1)"))?;
    let held = Lock::new(&other, "job").try_acquire()?;
    for _ in 0..3 {
        assert!(Lock::new(&store, "job").try_acquire().is_err_and(|error| error.is_contended()));
        said(link.batch_execute("INSERT INTO own VALUES (2)"))?;
    }
    held.release()?;
    let held = Lock::new(&store, "job").try_acquire()?;
    said(link.batch_execute("INSERT INTO own VALUES (3)"))?;
    held.renew()?;
    held.release()?;
    said(link.batch_execute("COMMIT"))
}

fn contention_leaves_a_callers_transaction_in_postgres_alone() -> Outcome {
    let server = servers::postgres()?;
    server.sql("CREATE TABLE own (x int)")?;
    for level in LEVELS {
        let mut link = said(PgConnection::establish(&server.url()))?;
        goes_on(&server.url(), &mut link, &format!("BEGIN ISOLATION LEVEL {level}"))?;
    }
    assert_eq!(server.sql("SELECT count(*) FROM own")?.trim(), "15");
    Ok(())
}

fn contention_leaves_a_callers_transaction_in_mariadb_alone() -> Outcome {
    let server = servers::mariadb()?;
    server.sql("CREATE TABLE own (x int)")?;
    for level in LEVELS {
        let mut link = said(MysqlConnection::establish(&server.url()))?;
        said(link.batch_execute(&format!("SET SESSION TRANSACTION ISOLATION LEVEL {level}")))?;
        goes_on(&server.url(), &mut link, "START TRANSACTION")?;
    }
    assert_eq!(server.sql("SELECT count(*) FROM own")?.trim(), "15");
    Ok(())
}

fn contention_leaves_a_callers_reading_in_sqlite_alone() -> Outcome {
    let database = Database::sqlite()?;
    let (store, other) = (open(&database.url())?, open(&database.url())?);
    database.sql("CREATE TABLE own (x INTEGER); INSERT INTO own VALUES (1)")?;
    let mut link = said(SqliteConnection::establish(database.url().trim_start_matches("sqlite:")))?;
    said(link.batch_execute("BEGIN; SELECT * FROM own"))?;
    let held = Lock::new(&store, "job").try_acquire()?;
    assert!(Lock::new(&other, "job").try_acquire().is_err_and(|error| error.is_contended()));
    said(link.batch_execute("SELECT * FROM own; COMMIT"))?;
    held.release()?;
    Ok(())
}

fn a_lock_taken_in_a_callers_transaction_is_seen_before_it_ends_and_survives_its_rollback() -> Outcome {
    let server = servers::postgres()?;
    server.sql("CREATE TABLE own (x int)")?;
    let mut link = said(PgConnection::establish(&server.url()))?;
    let (store, other) = (open(&server.url())?, open(&server.url())?);
    said(link.batch_execute("BEGIN; INSERT INTO own VALUES (1)"))?;
    let held = Lock::new(&store, "job").try_acquire()?;
    assert!(Lock::new(&other, "job").try_acquire().is_err_and(|error| error.is_contended()));
    said(link.batch_execute("ROLLBACK"))?;
    assert!(Lock::new(&other, "job").try_acquire().is_err_and(|error| error.is_contended()));
    held.renew()?;
    Ok(())
}

fn a_row_that_a_transaction_has_locked_is_unavailable_in_time_and_not_busy() -> Outcome {
    for database in [Database::Postgres(servers::postgres()?), Database::MariaDb(servers::mariadb()?)] {
        let store = open(&database.url())?;
        Lock::new(&store, "job").try_acquire()?.release()?;
        let mut link: Box<dyn SimpleConnection> = match &database {
            Database::Postgres(server) => Box::new(said(PgConnection::establish(&server.url()))?),
            _ => Box::new(said(MysqlConnection::establish(&database.url()))?),
        };
        said(link.batch_execute("BEGIN"))?;
        said(link.batch_execute("UPDATE tenure_lock SET fence = fence"))?;
        let error = unavailable(|| Lock::new(&store, "job").try_acquire());
        assert!(
            error.to_string().contains("another transaction") || error.to_string().contains("in time"),
            "{error:?}"
        );
        said(link.batch_execute("ROLLBACK"))?;
        Lock::new(&store, "job").try_acquire()?.release()?;
    }
    Ok(())
}

fn a_database_file_that_somebody_writes_to_for_long_is_unavailable_in_time() -> Outcome {
    let database = Database::sqlite()?;
    let store = open(&database.url())?;
    let mut link = said(SqliteConnection::establish(database.url().trim_start_matches("sqlite:")))?;
    said(link.batch_execute("BEGIN IMMEDIATE"))?;
    let error = unavailable(|| Lock::new(&store, "job").try_acquire());
    assert!(error.to_string().contains("another transaction"), "{error:?}");
    said(link.batch_execute("COMMIT"))?;
    Lock::new(&store, "job").try_acquire()?.release()?;
    Ok(())
}

fn the_isolation_that_a_server_defaults_to_does_not_matter() -> Outcome {
    let postgres = servers::Postgres::with(&["default_transaction_isolation=serializable"])?;
    let mariadb = servers::MariaDb::with(&["--transaction-isolation=SERIALIZABLE"])?;
    for url in [postgres.url(), mariadb.url()] {
        thread::scope(|scope| -> Outcome {
            let compete = || -> Outcome {
                let store = open(&url)?;
                for _ in 0..25 {
                    Lock::new(&store, "job").acquire_for(LIMIT * 20)?.release()?;
                }
                Ok(())
            };
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(compete)).collect();
            threads.into_iter().try_for_each(|thread| thread.join().expect("no thread panics"))
        })?;
    }
    Ok(())
}
