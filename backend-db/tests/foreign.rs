//! Locks in ShedLock's table, beside what ShedLock itself says to PostgreSQL and MariaDB.

use std::process::ExitCode;
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread;
use std::time::Duration;

use tenure_core::{Lock, Result};
use tenure_db::{ForeignLocks, ForeignTable};
use tenure_servers::{MariaDb, Outcome, Postgres, Stop, postgres};

fn main() -> ExitCode {
    tenure_servers::run(
        "foreign",
        tenure_servers::tests![
            shedlock_and_ours_exclude_each_other,
            a_late_owner_loses_to_shedlock_and_frees_nothing,
            threads_hold_a_row_one_after_another,
            a_name_stays_taken_for_shedlock_too,
            a_clock_that_was_set_back_lets_no_fence_go_back,
            what_the_table_cannot_hold_is_refused,
        ],
    )
}

/// A server with ShedLock's table, made of such columns as its manual says, or of finer or coarser ones.
enum Server {
    Postgres(Postgres),
    MariaDb(MariaDb),
}

impl Server {
    fn all(moment: &str) -> Outcome<[Self; 2]> {
        // What a TIMESTAMP says in MariaDB depends on where the session is.
        let far = MariaDb::with(&["--default-time-zone=+05:00"])?;
        let all = [Self::Postgres(postgres()?), Self::MariaDb(far)];
        for server in &all {
            server.sql(&format!(
                "CREATE TABLE shedlock (name VARCHAR(64) NOT NULL, lock_until {moment} NOT NULL, \
                 locked_at {moment} NOT NULL, locked_by VARCHAR(255) NOT NULL, \
                 PRIMARY KEY (name))"
            ))?;
        }
        Ok(all)
    }

    fn open(&self) -> Result<ForeignLocks> {
        ForeignLocks::connect(&self.url(), &ForeignTable::ShedLock)
    }

    fn url(&self) -> String {
        match self {
            Self::Postgres(server) => server.url(),
            Self::MariaDb(server) => server.url(),
        }
    }

    fn sql(&self, sql: &str) -> Outcome<String> {
        Ok(match self {
            Self::Postgres(server) => server.sql(sql)?,
            Self::MariaDb(server) => server.sql(sql)?,
        })
    }

    /// What ShedLock's `JdbcTemplateLockProvider` says with `usingDbTime()`, and whether it has the lock after
    /// that.
    fn shedlock_takes(&self, name: &str, millis: u32) -> Outcome<bool> {
        let taken = match self {
            Self::Postgres(server) => {
                let now = "timezone('utc', CURRENT_TIMESTAMP)";
                let until = format!("{now} + cast('{millis} milliseconds' as interval)");
                server.sql(&format!(
                    "WITH done AS (INSERT INTO shedlock(name, lock_until, locked_at, locked_by) \
                     VALUES('{name}', {until}, {now}, 'host') ON CONFLICT (name) DO UPDATE \
                     SET lock_until = {until}, locked_at = {now}, locked_by = 'host' \
                     WHERE shedlock.name = '{name}' AND shedlock.lock_until <= {now} RETURNING 1) \
                     SELECT count(*) FROM done"
                ))?
            }
            Self::MariaDb(server) => {
                let now = "UTC_TIMESTAMP(3)";
                let until = format!("TIMESTAMPADD(MICROSECOND, {}, {now})", u64::from(millis) * 1000);
                // It inserts once, and knows after that that there is a row.
                server.sql(&format!(
                    "INSERT IGNORE INTO shedlock(name, lock_until, locked_at, locked_by) \
                     VALUES('{name}', {until}, {now}, 'host'); SET @inserted = ROW_COUNT(); \
                     UPDATE shedlock SET lock_until = {until}, locked_at = {now}, locked_by = 'host' \
                     WHERE name = '{name}' AND lock_until <= {now}; SELECT @inserted + ROW_COUNT()"
                ))?
            }
        };
        Ok(taken == "1")
    }

    fn shedlock_releases(&self, name: &str) -> Outcome {
        let (now, least) = match self {
            Self::Postgres(_) => {
                ("timezone('utc', CURRENT_TIMESTAMP)", "locked_at + cast('0 milliseconds' as interval)")
            }
            Self::MariaDb(_) => ("UTC_TIMESTAMP(3)", "TIMESTAMPADD(MICROSECOND, 0, locked_at)"),
        };
        self.sql(&format!(
            "UPDATE shedlock SET lock_until = CASE WHEN {least} > {now} THEN {least} ELSE {now} END \
             WHERE name = '{name}' AND locked_by = 'host'"
        ))?;
        Ok(())
    }
}

fn shedlock_and_ours_exclude_each_other() -> Outcome {
    for server in Server::all("TIMESTAMP(6)")?.into_iter().chain(Server::all("TIMESTAMP(3)")?) {
        let locks = server.open()?;
        let lock = Lock::new(&locks, "report");
        let mut last = tenure_core::Fence::ZERO;
        for _ in 0..3 {
            let held = lock.try_acquire()?;
            is("a second owner here", lock.try_acquire().is_err_and(|error| error.is_contended()))?;
            is("ShedLock beside an owner here", !server.shedlock_takes("report", 60_000)?)?;
            held.renew()?;
            is("a fence that grows", held.fence() > last)?;
            last = held.fence();
            held.release()?;
            is("ShedLock after a release here", server.shedlock_takes("report", 60_000)?)?;
            let denied = lock.try_acquire();
            let left = denied.as_ref().err().and_then(tenure_core::Error::retry_after).unwrap_or_default();
            is("an owner here beside ShedLock", denied.is_err_and(|error| error.is_contended()))?;
            is("what is left of a minute", left > Duration::from_secs(30) && left < Duration::from_secs(61))?;
            server.shedlock_releases("report")?;
        }
    }
    Ok(())
}

/// As most have them.
const MOMENT: &str = "TIMESTAMP(3)";

fn a_late_owner_loses_to_shedlock_and_frees_nothing() -> Outcome {
    Server::all(MOMENT)?.iter().try_for_each(a_late_owner_loses)
}

fn a_late_owner_loses(server: &Server) -> Outcome {
    let locks = server.open()?;
    let lock = Lock::new(&locks, "late").ttl(Duration::from_secs(60)).release_on_drop(false);
    drop(lock.try_acquire()?);
    is("ShedLock in a lease", !server.shedlock_takes("late", 60_000)?)?;
    // As if that long had passed for the database, and not for this process.
    let pass = || server.sql("UPDATE shedlock SET lock_until = locked_at");
    pass()?;
    let held = lock.try_acquire()?;
    pass()?;
    is("ShedLock after a lease", server.shedlock_takes("late", 60_000)?)?;
    is("a late renewal", held.renew().is_err_and(|error| error.is_lost()))?;
    is("a late release", held.release().is_err_and(|error| error.is_lost()))?;
    is("ShedLock's row", server.sql("SELECT locked_by FROM shedlock")? == "host")?;
    is("an owner beside it", lock.try_acquire().is_err_and(|error| error.is_contended()))
}

fn threads_hold_a_row_one_after_another() -> Outcome {
    Server::all(MOMENT)?.iter().try_for_each(threads_hold_a_row)
}

fn threads_hold_a_row(server: &Server) -> Outcome {
    let locks = server.open()?;
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
    for server in Server::all(MOMENT)? {
        let locks = server.open()?;
        let held = Lock::new(&locks, "kept").hold_at_least(Duration::from_secs(60)).try_acquire()?;
        held.release()?;
        is("ShedLock before the time is over", !server.shedlock_takes("kept", 1000)?)?;
        is(
            "an owner here",
            Lock::new(&locks, "kept").try_acquire().is_err_and(|error| error.is_contended()),
        )?;
    }
    Ok(())
}

fn a_clock_that_was_set_back_lets_no_fence_go_back() -> Outcome {
    for server in Server::all(MOMENT)? {
        let locks = server.open()?;
        let lock = Lock::new(&locks, "back");
        let held = lock.try_acquire()?;
        let before = held.fence().get();
        held.release()?;
        let hour = match server {
            Server::Postgres(_) => "interval '1 hour'",
            Server::MariaDb(_) => "INTERVAL 1 HOUR",
        };
        server.sql(&format!("UPDATE shedlock SET locked_at = locked_at + {hour}"))?;
        let fence = lock.try_acquire()?.fence().get();
        is("a fence above one of an hour ahead", fence > before + 3_600_000_000)?;
    }
    Ok(())
}

fn what_the_table_cannot_hold_is_refused() -> Outcome {
    for server in Server::all(MOMENT)? {
        let locks = server.open()?;
        for name in ["x".repeat(65), "a\0b".into()] {
            is("a name", Lock::new(&locks, name).try_acquire().is_err_and(|error| error.is_invalid_name()))?;
        }
        Lock::new(&locks, "\u{e9}".repeat(64)).try_acquire()?.release()?;
        let wide = Lock::new(&locks, "\u{1f512}".repeat(64)).try_acquire();
        match server {
            Server::Postgres(_) => wide?.release()?,
            // Where nobody says otherwise, columns have no such character.
            Server::MariaDb(_) => is("a wide name", wide.is_err_and(|error| error.is_invalid_name()))?,
        }
        is("a short lease", Lock::new(&locks, "a").ttl(Duration::from_secs(1)).try_acquire().is_ok())?;
        server.sql("DROP TABLE shedlock")?;
        is("a table that is not there", server.open().is_err_and(|error| error.is_misconfigured()))?;
    }
    for server in Server::all("TIMESTAMP(0)")? {
        let error = server.open().err().map(|error| error.to_string()).unwrap_or_default();
        is("a table without milliseconds", error.contains("TIMESTAMP(3)"))?;
    }
    Ok(())
}

fn is(what: &str, is: bool) -> Outcome {
    if is { Ok(()) } else { Err(Stop::failed(format!("{what} is not as it must be"))) }
}
