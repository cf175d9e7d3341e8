//! Locks in ShedLock's table, beside what ShedLock itself says to PostgreSQL.

use std::process::ExitCode;
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread;
use std::time::Duration;

use tenure_core::{Lock, Result};
use tenure_db::{ForeignLocks, ForeignTable};
use tenure_servers::{Outcome, Postgres, Stop, postgres};

fn main() -> ExitCode {
    tenure_servers::run(
        "foreign",
        tenure_servers::tests![
            shedlock_and_ours_exclude_each_other,
            a_late_owner_loses_to_shedlock_and_frees_nothing,
            threads_hold_a_row_one_after_another,
            a_name_stays_taken_for_shedlock_too,
            what_the_table_cannot_hold_is_refused,
        ],
    )
}

/// As its manual makes the table; some make the moments of milliseconds.
fn open(moment: &str) -> Outcome<(Postgres, ForeignLocks)> {
    let server = postgres()?;
    server.sql(&format!(
        "CREATE TABLE shedlock (name VARCHAR(64) NOT NULL, lock_until {moment} NOT NULL, locked_at {moment} NOT NULL, \
         locked_by VARCHAR(255) NOT NULL, PRIMARY KEY (name))"
    ))?;
    let locks = ForeignLocks::connect(&server.url(), &ForeignTable::ShedLock)?;
    Ok((server, locks))
}

/// What `PostgresSqlServerTimeStatementsSource` of its `JdbcTemplateLockProvider` says, and whether it has the
/// lock after that.
fn shedlock_takes(server: &Postgres, name: &str, millis: u32) -> Outcome<bool> {
    let (now, by) = ("timezone('utc', CURRENT_TIMESTAMP)", "'host'");
    let until = format!("{now} + cast('{millis} milliseconds' as interval)");
    let inserted = server.sql(&format!(
        "WITH done AS (INSERT INTO shedlock(name, lock_until, locked_at, locked_by) \
         VALUES('{name}', {until}, {now}, {by}) ON CONFLICT (name) DO UPDATE \
         SET lock_until = {until}, locked_at = {now}, locked_by = {by} \
         WHERE shedlock.name = '{name}' AND shedlock.lock_until <= {now} RETURNING 1) SELECT count(*) FROM done"
    ))?;
    Ok(inserted == "1")
}

fn shedlock_releases(server: &Postgres, name: &str) -> Outcome {
    let (now, least) =
        ("timezone('utc', CURRENT_TIMESTAMP)", "locked_at + cast('0 milliseconds' as interval)");
    server.sql(&format!(
        "UPDATE shedlock SET lock_until = CASE WHEN {least} > {now} THEN {least} ELSE {now} END \
         WHERE name = '{name}' AND locked_by = 'host'"
    ))?;
    Ok(())
}

fn shedlock_and_ours_exclude_each_other() -> Outcome {
    for moment in ["TIMESTAMP", "TIMESTAMP(3)"] {
        let (server, locks) = open(moment)?;
        let lock = Lock::new(&locks, "report");
        let mut last = tenure_core::Fence::ZERO;
        for _ in 0..3 {
            let held = lock.try_acquire()?;
            is("a second owner here", lock.try_acquire().is_err_and(|error| error.is_contended()))?;
            is("ShedLock beside an owner here", !shedlock_takes(&server, "report", 60_000)?)?;
            held.renew()?;
            is("a fence that grows", held.fence() > last)?;
            last = held.fence();
            held.release()?;
            is("ShedLock after a release here", shedlock_takes(&server, "report", 60_000)?)?;
            let denied = lock.try_acquire();
            let left = denied.as_ref().err().and_then(tenure_core::Error::retry_after).unwrap_or_default();
            is("an owner here beside ShedLock", denied.is_err_and(|error| error.is_contended()))?;
            is("what is left of a minute", left > Duration::from_secs(30) && left < Duration::from_secs(61))?;
            shedlock_releases(&server, "report")?;
        }
    }
    Ok(())
}

fn a_late_owner_loses_to_shedlock_and_frees_nothing() -> Outcome {
    let (server, locks) = open("TIMESTAMP")?;
    let lock = Lock::new(&locks, "late").ttl(Duration::from_secs(60)).release_on_drop(false);
    drop(lock.try_acquire()?);
    is("ShedLock in a lease", !shedlock_takes(&server, "late", 60_000)?)?;
    // As if that long had passed for the database, and not for this process.
    let pass = || server.sql("UPDATE shedlock SET lock_until = locked_at");
    pass()?;
    let held = lock.try_acquire()?;
    pass()?;
    is("ShedLock after a lease", shedlock_takes(&server, "late", 60_000)?)?;
    is("a late renewal", held.renew().is_err_and(|error| error.is_lost()))?;
    is("a late release", held.release().is_err_and(|error| error.is_lost()))?;
    is("ShedLock's row", server.sql("SELECT locked_by FROM shedlock")? == "host")?;
    is("an owner beside it", lock.try_acquire().is_err_and(|error| error.is_contended()))
}

fn threads_hold_a_row_one_after_another() -> Outcome {
    let (_server, locks) = open("TIMESTAMP")?;
    let (inside, met) = (AtomicI64::new(0), AtomicI64::new(0));
    let work = || -> Result<()> {
        let lock = Lock::new(&locks, "busy").sleep(Duration::from_millis(1));
        for _ in 0..15 {
            let held = lock.acquire_for(Duration::from_secs(20))?;
            met.fetch_add(inside.fetch_add(1, Ordering::SeqCst), Ordering::SeqCst);
            thread::sleep(Duration::from_micros(200));
            inside.fetch_sub(1, Ordering::SeqCst);
            held.release()?;
        }
        Ok(())
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..6).map(|_| scope.spawn(work)).collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().map_err(|_| Stop::failed("a worker"))?.map_err(Stop::from))
    })?;
    is("nobody beside an owner", met.into_inner() == 0)
}

fn a_name_stays_taken_for_shedlock_too() -> Outcome {
    let (server, locks) = open("TIMESTAMP")?;
    let held = Lock::new(&locks, "kept").hold_at_least(Duration::from_secs(60)).try_acquire()?;
    held.release()?;
    is("ShedLock before the time is over", !shedlock_takes(&server, "kept", 1000)?)?;
    is("an owner here", Lock::new(&locks, "kept").try_acquire().is_err_and(|error| error.is_contended()))
}

fn what_the_table_cannot_hold_is_refused() -> Outcome {
    let (server, locks) = open("TIMESTAMP")?;
    for name in ["x".repeat(65), "a\0b".into()] {
        is("a name", Lock::new(&locks, name).try_acquire().is_err_and(|error| error.is_invalid_name()))?;
    }
    Lock::new(&locks, "\u{1f512}".repeat(64)).try_acquire()?.release()?;
    is("a session", Lock::new(&locks, "a").ttl(Duration::from_secs(1)).try_acquire().is_ok())?;
    server.sql("DROP TABLE shedlock")?;
    let gone = ForeignLocks::connect(&server.url(), &ForeignTable::ShedLock);
    is("a table that is not there", gone.is_err_and(|error| error.is_misconfigured()))
}

fn is(what: &str, is: bool) -> Outcome {
    if is { Ok(()) } else { Err(Stop::failed(format!("{what} is not as it must be"))) }
}
